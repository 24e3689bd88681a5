"""ZIP files with any field wrong, made by hand so that neither our writer nor Python's puts it right."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RawEntry:
    """An entry as it will be written; what is None is computed from `content`."""

    name: bytes
    content: bytes = b"content"
    data: bytes | None = None
    flags: int = 0
    method: int = 8
    mode: int = 0o100644
    dos_attributes: int = 0
    size: int | None = None
    crc: int | None = None
    extra: bytes = b""
    comment: bytes = b""
    offset: int | None = None
    local_name: bytes | None = None
    local_size: int | None = None
    local_flags: int | None = None
    local_extra: bytes = b""


def pack(
    entries: Sequence[RawEntry],
    *,
    prefix: bytes = b"",
    gap: bytes = b"",
    comment: bytes = b"",
    count: int | None = None,
) -> bytes:
    """Return the archive: a prefix, the entries, a gap before the central directory, an archive comment."""
    body, directory = prefix, b""
    for entry in entries:
        offset = len(body) if entry.offset is None else entry.offset
        body += _local(entry)
        directory += _central(entry, offset)
    body += gap
    number = len(entries) if count is None else count
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, number, number, len(directory), len(body), len(comment))
    return body + directory + end + comment


def _fields(entry: RawEntry, *, flags: int, size: int | None) -> tuple[int, ...]:
    crc = zlib.crc32(entry.content) if entry.crc is None else entry.crc
    return flags, entry.method, 0, 33, crc, len(_data(entry)), len(entry.content) if size is None else size


def _data(entry: RawEntry) -> bytes:
    if entry.data is not None:
        return entry.data
    return entry.content if entry.method == 0 else deflate(entry.content)


def _local(entry: RawEntry) -> bytes:
    name = entry.name if entry.local_name is None else entry.local_name
    flags = entry.flags if entry.local_flags is None else entry.local_flags
    size = entry.size if entry.local_size is None else entry.local_size
    fields = _fields(entry, flags=flags, size=size)
    header = struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, *fields, len(name), len(entry.local_extra))
    return header + name + entry.local_extra + _data(entry)


def _central(entry: RawEntry, offset: int) -> bytes:
    fields = _fields(entry, flags=entry.flags, size=entry.size)
    lengths = (len(entry.name), len(entry.extra), len(entry.comment))
    external = (entry.mode << 16) | entry.dos_attributes
    record = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 0x314, 20, *fields, *lengths, 0, 0, external, offset)
    return record + entry.name + entry.extra + entry.comment


def deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    return compressor.compress(data) + compressor.flush()
