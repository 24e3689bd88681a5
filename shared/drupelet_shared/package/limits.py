"""What a reader of packages accepts, whatever the package declares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from drupelet_shared.errors import ArchiveSizeError, TooManyEntriesError


@dataclass(frozen=True, slots=True)
class Limits:
    """The most files, the most bytes in one, and the most bytes in all, each uncompressed."""

    entries: int = 1024
    file_bytes: int = 2 * 2**30
    total_bytes: int = 4 * 2**30


DEFAULT_LIMITS = Limits()


def check_count(count: int, limits: Limits) -> None:
    """Refuse too many files.

    Raises:
        TooManyEntriesError: There are more than the limit.
    """
    if count > limits.entries:
        raise TooManyEntriesError(f"package has {count} files: the limit is {limits.entries}")


def check_sizes(sizes: Mapping[str, int], limits: Limits) -> None:
    """Refuse files, by path, that are too large one by one or together.

    Raises:
        ArchiveSizeError: They are.
    """
    for path, size_bytes in sizes.items():
        if size_bytes > limits.file_bytes:
            raise ArchiveSizeError(f"{path!r} has {size_bytes} bytes: the limit is {limits.file_bytes}")
    total = sum(sizes.values())
    if total > limits.total_bytes:
        raise ArchiveSizeError(f"package extracts to {total} bytes: the limit is {limits.total_bytes}")
