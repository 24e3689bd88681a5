"""Records and data of a ZIP file (PKWARE APPNOTE 6.3.10, section 4.3) as far as the package format uses them."""

from __future__ import annotations

import stat
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from drupelet_shared.errors import ArchiveError, ArchiveSizeError, LinkEntryError, UnsafePathError
from drupelet_shared.package.paths import MAX_PATH_LENGTH, check_path

LOCAL = struct.Struct("<4s5H3L2H")
CENTRAL = struct.Struct("<4s6H3L5H2L")
END = struct.Struct("<4s4H2LH")

LOCAL_SIGNATURE, CENTRAL_SIGNATURE, END_SIGNATURE = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"

# 0xFFFFFFFF and 0xFFFF announce ZIP64 records, which the format does not use.
MAX_SIZE = 0xFFFF_FFFE
MAX_COUNT = 0xFFFE

DEFLATE = 8
RAW_DEFLATE = -zlib.MAX_WBITS  # no zlib header around the data
_VERSION = 20  # 2.0, the first with DEFLATE
_MADE_BY = (3 << 8) | _VERSION  # 3 is Unix, so that the external attributes are a file mode
_TIME, _DATE = 0, (0 << 9) | (1 << 5) | 1  # 1980-01-01 00:00, the earliest there is
_EXTERNAL = (stat.S_IFREG | 0o644) << 16
_ENCRYPTED, _UTF8 = 0x0001, 0x0800
_DOS_SPECIAL = 0x08 | 0x10  # volume label, directory
_CHUNK_BYTES = 256 * 2**10


@dataclass(frozen=True, slots=True)
class Entry:
    """One file in an archive.

    Attributes:
        path: Its path in the package.
        crc32: The checksum of its content.
        compressed_bytes: Its size in the archive.
        size_bytes: Its size after extraction.
        offset: The position of its local header in the archive.
    """

    path: str
    crc32: int
    compressed_bytes: int
    size_bytes: int
    offset: int

    @property
    def data_offset(self) -> int:
        """The offset of the compressed data: right after the local header, which has no extra field."""
        return self.offset + LOCAL.size + len(self.path)

    @property
    def end_offset(self) -> int:
        """The first byte after the compressed data."""
        return self.data_offset + self.compressed_bytes

    def local_header(self) -> bytes:
        """Return the header that stands before the data."""
        fields = (_VERSION, 0, DEFLATE, _TIME, _DATE, self.crc32, self.compressed_bytes, self.size_bytes)
        return LOCAL.pack(LOCAL_SIGNATURE, *fields, len(self.path), 0) + self.path.encode("ascii")

    def central_record(self) -> bytes:
        """Return the record in the central directory."""
        fields = (_MADE_BY, _VERSION, 0, DEFLATE, _TIME, _DATE, self.crc32, self.compressed_bytes, self.size_bytes)
        lengths = (len(self.path), 0, 0, 0, 0)
        record = CENTRAL.pack(CENTRAL_SIGNATURE, *fields, *lengths, _EXTERNAL, self.offset)
        return record + self.path.encode("ascii")


def read_central_record(file: BinaryIO) -> Entry:
    """Read the record at the file's position.

    Raises:
        ArchiveError: The record is damaged, or uses a feature that the format does not have.
        UnsafePathError: The path has a form that the format forbids.
        LinkEntryError: The entry is a link, a folder or another special file.
    """
    record = file.read(CENTRAL.size)
    if len(record) != CENTRAL.size or record[:4] != CENTRAL_SIGNATURE:
        raise ArchiveError("central directory is damaged: a record does not start where it should")
    _, _, _, flags, method, _, _, crc32, compressed, size, *lengths, disk, _, external, offset = CENTRAL.unpack(record)
    path = _read_path(file, lengths[0])
    _check_special(path, external)
    _check_features(path, flags, method=method)
    if lengths[1] or lengths[2] or disk:
        raise ArchiveError(f"entry {path!r} has an extra field, a comment or a disk number: the format has none")
    return Entry(path=path, crc32=crc32, compressed_bytes=compressed, size_bytes=size, offset=offset)


def check_local_header(file: BinaryIO, entry: Entry) -> None:
    """Check that an entry's local header equals its central record, and leave `file` at the entry's data.

    Raises:
        ArchiveError: The local header is missing or differs from the central record.
    """
    file.seek(entry.offset)
    header = file.read(LOCAL.size)
    if len(header) != LOCAL.size or header[:4] != LOCAL_SIGNATURE:
        raise ArchiveError(f"entry {entry.path!r}: no local header at offset {entry.offset}")
    _, _, flags, method, _, _, crc32, compressed, size, path_length, extra_length = LOCAL.unpack(header)
    _check_features(entry.path, flags, method=method)
    path = file.read(min(path_length, MAX_PATH_LENGTH))
    if (path, extra_length) != (entry.path.encode("ascii"), 0):
        raise ArchiveError(f"entry {entry.path!r}: its local header names {path!r} and {extra_length} extra bytes")
    if (crc32, compressed, size) != (entry.crc32, entry.compressed_bytes, entry.size_bytes):
        raise ArchiveError(f"entry {entry.path!r}: its local header and the central directory differ in CRC or size")


def decompress(file: BinaryIO, entry: Entry) -> Iterator[bytes]:
    """Yield the content of an entry in pieces; it never exceeds the declared size.

    Raises:
        ArchiveSizeError: The content is larger than declared.
        ArchiveError: The data is damaged, ends early, is followed by other bytes or has another CRC.
    """
    size, crc32 = 0, 0
    for chunk in _inflate(file, entry):
        size, crc32 = size + len(chunk), zlib.crc32(chunk, crc32)
        if size > entry.size_bytes:
            raise ArchiveSizeError(f"entry {entry.path!r} holds more than the {entry.size_bytes} bytes it declares")
        yield chunk
    if (size, crc32) != (entry.size_bytes, entry.crc32):
        actual, declared = f"{size} bytes, CRC {crc32:08x}", f"{entry.size_bytes} bytes, CRC {entry.crc32:08x}"
        raise ArchiveError(f"entry {entry.path!r} holds {actual}: it declares {declared}")


def _inflate(file: BinaryIO, entry: Entry) -> Iterator[bytes]:
    inflater = zlib.decompressobj(RAW_DEFLATE)
    file.seek(entry.data_offset)
    left = entry.compressed_bytes
    pending = b""
    while not inflater.eof:
        if not pending:
            pending = file.read(min(_CHUNK_BYTES, left))
            left -= len(pending)
        ended = not pending
        try:
            chunk = inflater.decompress(pending, _CHUNK_BYTES)
        except zlib.error as error:
            raise ArchiveError(f"entry {entry.path!r}: {error}") from error
        if ended and not chunk and not inflater.eof:
            raise ArchiveError(f"entry {entry.path!r}: its data is cut off")
        pending = inflater.unconsumed_tail
        yield chunk
    if left or inflater.unused_data:
        raise ArchiveError(f"entry {entry.path!r}: {left + len(inflater.unused_data)} bytes follow its data")


def _read_path(file: BinaryIO, length: int) -> str:
    raw = file.read(length)
    try:
        return check_path(raw.decode("ascii"))
    except UnicodeDecodeError as error:
        raise UnsafePathError(f"path {raw[:MAX_PATH_LENGTH]!r}: expected ASCII") from error


def _check_special(path: str, external: int) -> None:
    kind = stat.S_IFMT(external >> 16)
    if kind not in {0, stat.S_IFREG} or external & _DOS_SPECIAL:
        raise LinkEntryError(f"entry {path!r} has file mode {external >> 16:#o}: only regular files are allowed")


def _check_features(path: str, flags: int, *, method: int) -> None:
    if flags & _ENCRYPTED:
        raise ArchiveError(f"entry {path!r} is encrypted: packages are not")
    if flags & ~_UTF8:
        raise ArchiveError(f"entry {path!r} has flags {flags:#06x}: expected 0x0000 or 0x0800")
    if method != DEFLATE:
        raise ArchiveError(f"entry {path!r} has compression method {method}: expected {DEFLATE} (DEFLATE)")
