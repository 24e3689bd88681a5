"""The form of file paths inside a package: portable, relative, without any room for tricks."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from drupelet_shared.errors import DuplicateEntryError, UnsafePathError

MAX_PATH_LENGTH = 255

# No segment starts with a dot: that leaves out '.' and '..', and the '.git*' files which `model_signing` does not sign.
_SEGMENT = r"[A-Za-z0-9_][A-Za-z0-9._+-]*"
_PATH = re.compile(rf"{_SEGMENT}(?:/{_SEGMENT})*")


def check_path(path: str) -> str:
    """Return `path` if it is well formed: `/`-separated segments of ASCII letters, digits and `._+-`.

    Raises:
        UnsafePathError: The path has another form: it is absolute, leaves the folder, names a drive or is hidden.
    """
    if len(path) > MAX_PATH_LENGTH:
        raise UnsafePathError(f"path {path[:40]!r}... has {len(path)} characters: the limit is {MAX_PATH_LENGTH}")
    if not _PATH.fullmatch(path):
        raise UnsafePathError(
            f"path {path!r}: expected segments of letters, digits and '._+-' with single '/' between them, "
            "none starting with '.', '+' or '-'"
        )
    return path


def check_distinct(paths: Iterable[str]) -> None:
    """Refuse paths that cannot all be files of one folder, also on file systems that fold case.

    Raises:
        DuplicateEntryError: Two are equal but for case, or one is a folder of another.
    """
    seen: dict[str, str] = {}
    for path in paths:
        folded = path.casefold()
        if folded in seen:
            raise DuplicateEntryError(f"path {path!r} is there twice: also as {seen[folded]!r}")
        seen[folded] = path
    for folded, path in seen.items():
        for parent in PurePosixPath(folded).parents:
            if str(parent) in seen:
                raise DuplicateEntryError(f"path {seen[str(parent)]!r} is a file and the folder of {path!r}")
