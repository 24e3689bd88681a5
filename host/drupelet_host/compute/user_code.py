"""The Python files of a person that the objects of tasks come from, as workers import them."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from drupelet_host.recipe.factories import ImportedFile, import_file, imported_files


@dataclass(frozen=True, slots=True)
class UserFile:
    """A file that the recipe's factories come from.

    Attributes:
        path: Where it lies on the machine that compiles.
        sources: It and the Python files that it can import from its folder, by their path there; empty where workers
            read the file itself.
    """

    path: Path
    sources: tuple[tuple[str, str], ...] = ()


def find_user_code(pickled: bytes, *, with_sources: bool) -> tuple[UserFile, ...]:
    """Return the user's files whose classes and functions a pickled object names.

    A process may have compiled other recipes before, whose files may be gone or may not be importable any more: only
    what the object needs goes to a worker.

    Args:
        pickled: The object, pickled with protocol 4 or later.
        with_sources: Whether to take their content along, for workers on other machines.
    """
    return tuple(
        UserFile(file.path, tuple(sorted(_read_sources(file).items())) if with_sources else ())
        for file in imported_files()
        if any(_names_module(pickled, name) for name in (file.module, *file.neighbours))
    )


def import_user_code(files: Sequence[UserFile]) -> None:
    """Import the files as the process that compiles has them, so that its objects can be unpickled."""
    for file in files:
        import_file(file.path, location=_find_location(file))


def _names_module(pickled: bytes, name: str) -> bool:
    """Tell whether a pickle has the name as a whole string: behind the opcode of short strings and its length."""
    encoded = name.encode()
    return b"\x8c" + bytes([len(encoded)]) + encoded in pickled if len(encoded) < 256 else encoded in pickled  # noqa: PLR2004


def _find_location(file: UserFile) -> Path:
    """Return where this machine has the file: where it came from if that is the same, else a copy."""
    if not file.sources:
        return file.path
    sources = dict(file.sources)
    if all(_read_text(file.path.parent / name) == text for name, text in sources.items()):
        return file.path
    return _write_sources(file.sources) / file.path.name


def _read_sources(file: ImportedFile) -> Mapping[str, str]:
    folder = file.path.parent
    packages = {name.partition(".")[0] for name in file.neighbours}
    paths = [*folder.glob("*.py"), *(path for name in packages for path in (folder / name).rglob("*.py"))]
    texts = {path.relative_to(folder).as_posix(): _read_text(path) for path in paths}
    return {name: text for name, text in texts.items() if text is not None}


def _read_text(path: Path) -> str | None:
    """Return the text of a source; None where there is none that can be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


@cache
def _write_sources(sources: tuple[tuple[str, str], ...]) -> Path:
    """Write the files to a folder that lives as long as this process."""
    folder = Path(tempfile.mkdtemp(prefix="drupelet-user-"))
    for name, text in sources:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder
