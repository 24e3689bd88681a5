"""The Python files of a person that a recipe names, as workers import them."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from drupelet_host.recipe.factories import import_file, imported_files


@dataclass(frozen=True, slots=True)
class UserFile:
    """A file that the recipe's factories come from.

    Attributes:
        path: Where it lies on the machine that compiles.
        sources: It and the Python files beside it, by name; empty where workers read the file itself.
    """

    path: Path
    sources: tuple[tuple[str, str], ...] = ()


def capture_user_code(*, with_sources: bool) -> tuple[UserFile, ...]:
    """Return the user's files that this process has imported.

    Args:
        with_sources: Whether to take their content along, for workers on other machines.
    """
    return tuple(
        UserFile(path, tuple(sorted(_read_folder(path.parent).items())) if with_sources else ())
        for path in imported_files()
    )


def import_user_code(files: Sequence[UserFile]) -> None:
    """Import the files as the process that compiles has them, so that its objects can be unpickled."""
    for file in files:
        location = file.path
        if file.sources and (not location.is_file() or _read_folder(location.parent) != dict(file.sources)):
            location = _write_sources(file.sources) / location.name
        if str(location.parent) not in sys.path:
            # Behind everything else: a person's `types.py` must not hide Python's own.
            sys.path.append(str(location.parent))
        import_file(file.path, location=location)


def _read_folder(folder: Path) -> Mapping[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.py"))}


@cache
def _write_sources(sources: tuple[tuple[str, str], ...]) -> Path:
    """Write the files to a folder that lives as long as this process."""
    folder = Path(tempfile.mkdtemp(prefix="drupelet-user-"))
    for name, text in sources:
        (folder / name).write_text(text, encoding="utf-8")
    return folder
