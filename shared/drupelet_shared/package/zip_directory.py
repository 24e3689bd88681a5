"""Reads the directory of an archive and checks all of it before anything is decompressed."""

from __future__ import annotations

import os
from typing import BinaryIO

from drupelet_shared.errors import ArchiveError
from drupelet_shared.package.limits import Limits, check_count, check_sizes
from drupelet_shared.package.paths import MAX_PATH_LENGTH, check_distinct
from drupelet_shared.package.zip_layout import (
    CENTRAL,
    END,
    END_SIGNATURE,
    Entry,
    check_local_header,
    read_central_record,
)


def read_directory(file: BinaryIO, limits: Limits) -> dict[str, Entry]:
    """Read and check the records of all entries, without decompressing anything.

    Raises:
        ArchiveError: The archive is damaged or breaks a rule of the format; the subclass states which.
    """
    directory_end = file.seek(0, os.SEEK_END) - END.size
    count, directory_bytes, directory_offset = _read_end(file, directory_end)
    check_count(count, limits)
    most_bytes = count * (CENTRAL.size + MAX_PATH_LENGTH)
    if directory_offset + directory_bytes != directory_end or directory_bytes > most_bytes:
        raise ArchiveError(
            f"central directory at {directory_offset} of {directory_bytes} bytes does not end the archive"
        )
    file.seek(directory_offset)
    entries = [read_central_record(file) for _ in range(count)]
    if file.tell() != directory_end:
        raise ArchiveError(f"central directory ends at byte {file.tell()}: expected {directory_end}")
    check_distinct(entry.path for entry in entries)
    check_sizes({entry.path: entry.size_bytes for entry in entries}, limits)
    _check_contiguous(entries, directory_offset)
    for entry in entries:
        check_local_header(file, entry)
    return {entry.path: entry for entry in entries}


def _read_end(file: BinaryIO, offset: int) -> tuple[int, int, int]:
    if offset < 0:
        raise ArchiveError(f"not an archive: {offset + END.size} bytes are less than an empty archive has")
    file.seek(offset)
    signature, *disks, here, count, size, start, comment_bytes = END.unpack(file.read(END.size))
    # A comment or bytes after the end would let two readers see two different archives in one file.
    if signature != END_SIGNATURE or comment_bytes:
        raise ArchiveError("not an archive, or cut off: the file does not finish with an end record without a comment")
    if any(disks) or here != count:
        raise ArchiveError(f"archive spans disks: {here} of {count} entries are here")
    return count, size, start


def _check_contiguous(entries: list[Entry], directory_offset: int) -> None:
    # Overlapping entries let a small archive claim to be large; gaps can hide data.
    expected = 0
    for entry in sorted(entries, key=lambda entry: entry.offset):
        if entry.offset != expected:
            raise ArchiveError(f"entry {entry.path!r} starts at byte {entry.offset}: expected {expected}")
        expected = entry.end_offset
    if expected != directory_offset:
        raise ArchiveError(f"central directory starts at byte {directory_offset}: expected {expected}")
