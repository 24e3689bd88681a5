"""The limits of a package reader, which hold whatever the package declares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from drupelet_shared.errors import ArchiveSizeError, TooManyEntriesError


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one package, uncompressed.

    Attributes:
        entries: Maximum number of files.
        file_bytes: Maximum size of one file.
        total_bytes: Maximum size of all files together.
    """

    entries: int = 1024
    file_bytes: int = 2 * 2**30
    total_bytes: int = 4 * 2**30


DEFAULT_LIMITS = Limits()


def check_count(count: int, limits: Limits) -> None:
    """Check the number of files.

    Raises:
        TooManyEntriesError: The package has more files than the limit.
    """
    if count > limits.entries:
        raise TooManyEntriesError(f"package has {count} files: the limit is {limits.entries}")


def check_sizes(sizes: Mapping[str, int], limits: Limits) -> None:
    """Check the sizes of files, by path, one by one and together.

    Raises:
        ArchiveSizeError: A file, or all files together, exceed the limit.
    """
    for path, size_bytes in sizes.items():
        if size_bytes > limits.file_bytes:
            raise ArchiveSizeError(f"{path!r} has {size_bytes} bytes: the limit is {limits.file_bytes}")
    total = sum(sizes.values())
    if total > limits.total_bytes:
        raise ArchiveSizeError(f"package extracts to {total} bytes: the limit is {limits.total_bytes}")
