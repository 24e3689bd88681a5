"""Loads the callables that recipes name: "package.module:callable" or "file.py:callable"."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from drupelet_host.recipe.user_errors import describe_user_error
from drupelet_shared.errors import DrupeletError

# The modules that users' files have imported from their own folder, with that folder.
_neighbours: dict[str, str] = {}
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
    except Exception as cause:  # a user's module may raise anything while it is imported
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
        with _neighbours_of(ref.file):
            return factory()
    except Exception as cause:  # a user's factory may raise anything
        raise error(f"factory {ref}: calling it failed: {describe_user_error(cause)}") from cause


def imported_files() -> tuple[Path, ...]:
    """Return the files that factories were imported from, in the order in which they were."""
    return tuple(_imported)


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
        return _imported[path][1]
    # Dataclasses, pickle and torch.export look a class's module up in sys.modules by a name that no other file has.
    name = f"_drupelet_recipe_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, location)
    assert spec is not None, location
    assert spec.loader is not None, location
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    with _neighbours_of(location):
        spec.loader.exec_module(module)
    _imported[path] = (version, module)
    return module


@contextmanager
def _neighbours_of(file: Path | None) -> Iterator[None]:
    """Let a user's file import modules of its folder, as it can when it runs as a program.

    These modules stay in sys.modules, which pickle and torch.export need, until a file of another folder is imported,
    whose folder may have modules of the same names.
    """
    if file is None:
        yield
        return
    folder = str(file.parent)
    for name in [name for name, origin in _neighbours.items() if origin != folder]:
        sys.modules.pop(name, None)
        del _neighbours[name]
    before = set(sys.modules)
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
        for name in set(sys.modules) - before:
            if str(Path(getattr(sys.modules[name], "__file__", None) or "/").parent) == folder:
                _neighbours[name] = folder
