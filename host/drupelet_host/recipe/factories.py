"""Loads the callables that recipes name: "package.module:callable" or "file.py:callable"."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from drupelet_host.recipe.user_errors import describe_user_error
from drupelet_host.recipe.user_folders import MODULE_PREFIX, importing_from, list_modules, make_importable
from drupelet_shared.errors import DrupeletError

# The files that have been imported, with their time and size.
_imported: dict[Path, tuple[tuple[int, int], ModuleType]] = {}


@dataclass(frozen=True, slots=True)
class FactoryRef:
    """A reference to a callable in a file or in an importable module.

    Attributes:
        module: The name of the module.
        attribute: The name of the callable.
        file: The file; None for an importable module.
    """

    module: str
    attribute: str
    file: Path | None = None

    def __str__(self) -> str:
        return f"{self.file.name if self.file else self.module}:{self.attribute}"


def parse_factory(text: str, *, folder: Path) -> FactoryRef:
    """Parse "package.module:callable" or "file.py:callable".

    Args:
        text: The reference.
        folder: The folder that a file is relative to.

    Raises:
        ValueError: The text has another form, or the file does not exist.
    """
    module, separator, attribute = text.rpartition(":")
    if not separator or not attribute.isidentifier():
        raise ValueError("expected 'package.module:callable' or 'file.py:callable'")
    if not module.endswith(".py"):
        if not all(part.isidentifier() for part in module.split(".")):
            raise ValueError(f"{module!r} is neither a module's name nor a file that ends in .py")
        return FactoryRef(module=module, attribute=attribute)
    file = (folder / module).resolve()
    if not file.is_file():
        raise ValueError(f"there is no file {file}")
    return FactoryRef(module=file.stem, attribute=attribute, file=file)


def load_factory(ref: FactoryRef, *, error: type[DrupeletError]) -> Callable[..., Any]:
    """Import the module and return the callable.

    Args:
        ref: The reference to the callable.
        error: The type of the error to raise, which tells whether a model or data cannot be loaded.
    """
    try:
        module = import_file(ref.file) if ref.file else importlib.import_module(ref.module)
    except (Exception, SystemExit) as cause:  # a user's module may raise anything while it is imported
        raise error(f"factory {ref}: importing it failed: {describe_user_error(cause)}") from cause
    attribute = getattr(module, ref.attribute, None)
    if not callable(attribute):
        names = sorted(name for name, value in vars(module).items() if callable(value) and not name.startswith("_"))
        raise error(f"factory {ref}: there is no such callable; the module has {', '.join(names) or 'none'}")
    callable_: Callable[..., Any] = attribute
    return callable_


def call_factory(ref: FactoryRef, *, error: type[DrupeletError]) -> Any:  # noqa: ANN401 - a factory may return anything
    """Load the callable and call it without arguments."""
    factory = load_factory(ref, error=error)
    try:
        with importing_from(ref.file.parent) if ref.file else nullcontext():
            return factory()
    except (Exception, SystemExit) as cause:  # a user's factory may raise anything
        raise error(f"factory {ref}: calling it failed: {describe_user_error(cause)}") from cause


@dataclass(frozen=True, slots=True)
class ImportedFile:
    """A file that factories were imported from.

    Attributes:
        path: The file.
        module: The name of its module.
        neighbours: The names of the modules from its folder that can be imported now.
    """

    path: Path
    module: str
    neighbours: tuple[str, ...]


def imported_files() -> tuple[ImportedFile, ...]:
    """Return the files that factories were imported from, in the order in which they were."""
    modules = list_modules()
    return tuple(
        ImportedFile(path, module.__name__, modules.get(str(path.parent), ()))
        for path, (_, module) in _imported.items()
    )


def import_file(path: Path, *, location: Path | None = None) -> ModuleType:
    """Import a file, once as long as it does not change: a network and its data in one file share their classes.

    Args:
        path: The file, after which the module is named.
        location: Where its content lies on this machine, if that is elsewhere.
    """
    location = location or path
    stat = location.stat()
    version = (stat.st_mtime_ns, stat.st_size)
    if path in _imported and _imported[path][0] == version:
        make_importable(location.parent)
        return _imported[path][1]
    name = _name_module(path)
    spec = importlib.util.spec_from_file_location(name, location)
    assert spec is not None, location
    assert spec.loader is not None, location
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    with importing_from(location.parent):
        spec.loader.exec_module(module)
    _imported[path] = (version, module)
    return module


def find_module_name(name: str) -> str:
    """Return the name that a module has in this process, where it may have been imported from another folder.

    Args:
        name: The name that it had when an object of one of its classes was pickled.

    Returns:
        The name of the one file of the same name that factories were imported from; otherwise `name` itself.
    """
    if name in sys.modules:
        return name
    found = [file.module for file in imported_files() if name.rpartition("_")[0] == _title(file.path)]
    return found[0] if len(found) == 1 else name


def _name_module(path: Path) -> str:
    # Dataclasses, pickle and torch.export look a class's module up in sys.modules by a name that no other file has.
    return f"{_title(path)}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"


def _title(path: Path) -> str:
    return f"{MODULE_PREFIX}{path.stem}"
