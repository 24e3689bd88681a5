"""Imports of a person's modules from the folders of the files that recipes name.

Two folders may have modules of the same names, as every project has its `model.py` and `data.py`: those of the folder
that was used last are in `sys.modules`, where pickle and `torch.export` look a class's module up.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

# Begins the names of the modules of the files themselves, which no other module has.
MODULE_PREFIX = "_drupelet_recipe_"

# The folders, the latest first, with the modules that were imported from there.
_modules: dict[str, dict[str, ModuleType]] = {}
# What `make_importable` has added to sys.path, in this order.
_searched: list[str] = []


@contextmanager
def importing_from(folder: Path) -> Iterator[None]:
    """Let code import modules of the folder before all others, as a program can that lies there."""
    make_importable(folder)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def make_importable(folder: Path) -> None:
    """Let what a person's code imports from now on come from the folder, not from another one with the same names.

    The folder stays in sys.path, behind everything else: a person's `types.py` must not hide Python's own.
    """
    _notice_imports()
    latest = str(folder)
    for other, modules in _modules.items():
        for name, module in modules.items():
            if other != latest and _has_module(folder, name.partition(".")[0]) and sys.modules.get(name) is module:
                del sys.modules[name]
    own = _modules.pop(latest, {})
    others = dict(_modules)
    _modules.clear()
    _modules.update({latest: own, **others})
    sys.modules.update(own)
    sys.path[:] = program_path()
    _searched[:] = _modules
    sys.path.extend(_searched)


def program_path() -> list[str]:
    """Return sys.path without the folders that `make_importable` has added behind it."""
    rest = list(sys.path)
    for folder in _searched:
        if folder in rest:
            # From the end: a program's own folder comes first.
            del rest[len(rest) - 1 - rest[::-1].index(folder)]
    return rest


def list_modules() -> dict[str, tuple[str, ...]]:
    """Return the names of the modules of each folder that are in sys.modules now."""
    _notice_imports()
    return {
        folder: tuple(name for name, module in modules.items() if sys.modules.get(name) is module)
        for folder, modules in _modules.items()
    }


def _has_module(folder: Path, name: str) -> bool:
    return (folder / f"{name}.py").is_file() or (folder / name).is_dir()


def _notice_imports() -> None:
    """Add what has been imported from the folders since the last time."""
    imported = list(sys.modules.items())
    folders = {
        name: _folder_of(module)
        for name, module in imported
        if "." not in name and name != "__main__" and not name.startswith(MODULE_PREFIX)
    }
    for name, module in imported:
        known = _modules.get(folders.get(name.partition(".")[0], ""))
        if known is not None:
            known[name] = module


def _folder_of(module: ModuleType) -> str:
    """Return the folder that a module or a package of the top level lies in; an empty text for those of no file."""
    place: object = next(iter(getattr(module, "__path__", None) or ()), None) or getattr(module, "__file__", None)
    return os.path.dirname(place) if isinstance(place, str) else ""  # noqa: PTH120 - thousands of modules
