"""The package's container: a ZIP written the same way every time and read as if an enemy had made it."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from drupelet_shared.errors import (
    ArchiveError,
    ArchiveSizeError,
    DigestMismatchError,
    MissingFileError,
    NoSpaceError,
    TooManyEntriesError,
)
from drupelet_shared.files import open_atomically, sync_folder
from drupelet_shared.package.limits import DEFAULT_LIMITS, Limits
from drupelet_shared.package.paths import check_distinct, check_path
from drupelet_shared.package.zip_directory import read_directory
from drupelet_shared.package.zip_layout import (
    END,
    END_SIGNATURE,
    LOCAL,
    MAX_COUNT,
    MAX_SIZE,
    RAW_DEFLATE,
    Entry,
    decompress,
)
from drupelet_shared.units import format_bytes

_LEVEL = 6
_CHUNK_BYTES = 256 * 2**10


def write_archive(path: Path, files: Mapping[str, bytes | Path]) -> None:
    """Write an archive, atomically; the same files give the same bytes (with the same build of zlib).

    Args:
        path: Where the archive goes; an archive there is replaced.
        files: What each path inside holds: bytes, or a file to read.

    Raises:
        UnsafePathError: A path has a form the format forbids.
        DuplicateEntryError: Two paths are equal but for case, or one is a folder of the other.
        ArchiveError: There are more or larger files than the format has room for, or reading or writing fails.
    """
    for name in files:
        check_path(name)
    check_distinct(files)
    if len(files) > MAX_COUNT:
        raise TooManyEntriesError(f"archive {path.name}: {len(files)} files: the format has room for {MAX_COUNT}")
    with archive_errors(path), open_atomically(path) as file:
        entries = [_write_entry(file, name, files[name]) for name in sorted(files)]
        directory = b"".join(entry.central_record() for entry in entries)
        offset = file.tell()
        _check_fits(offset, what=f"archive {path.name}")
        file.write(directory)
        file.write(END.pack(END_SIGNATURE, 0, 0, len(entries), len(entries), len(directory), offset, 0))


@contextmanager
def open_archive(path: Path, *, limits: Limits = DEFAULT_LIMITS) -> Iterator[Archive]:
    """Open an archive and check its directory, without decompressing anything.

    Raises:
        ArchiveError: The file cannot be read or breaks a rule of the format; the subclass states which.
    """
    with ExitStack() as stack:
        with archive_errors(path):
            file = stack.enter_context(path.open("rb"))
            entries = read_directory(file, limits)
        yield Archive(file, entries)


class Archive:
    """An open archive; entries are decompressed within their declared sizes."""

    def __init__(self, file: BinaryIO, entries: Mapping[str, Entry]) -> None:
        """Wrap an open archive.

        Args:
            file: The archive.
            entries: Its checked directory, by path.
        """
        self._file = file
        self.entries = entries

    @property
    def total_bytes(self) -> int:
        """The size of all files after extraction."""
        return sum(entry.size_bytes for entry in self.entries.values())

    def read(self, path: str, *, limit_bytes: int) -> bytes:
        """Return the content of one small file.

        Raises:
            MissingFileError: The archive has no entry with this path.
            ArchiveSizeError: The entry is larger than the limit or than it declares.
            ArchiveError: The data of the entry is damaged.
        """
        entry = self.entries.get(path)
        if entry is None:
            raise MissingFileError(f"{path!r} is not in the archive")
        if entry.size_bytes > limit_bytes:
            raise ArchiveSizeError(f"{path!r} has {entry.size_bytes} bytes: the limit is {limit_bytes}")
        with archive_errors(Path(path)):
            return b"".join(decompress(self._file, entry))

    def extract(self, folder: Path, *, digests: Mapping[str, str]) -> None:
        """Write every entry into an existing empty folder, durably.

        The caller removes what was written before an error.

        Args:
            folder: The destination; no entry is written outside it.
            digests: The SHA-256 that each entry must have, in hexadecimal.

        Raises:
            DigestMismatchError: An entry has another digest.
            NoSpaceError: The file system is full.
            ArchiveError: An entry's data is damaged or larger than declared, or writing fails.
        """
        with archive_errors(folder):
            for entry in self.entries.values():
                target = folder / entry.path
                target.parent.mkdir(parents=True, exist_ok=True)
                digest = _write_file(target, decompress(self._file, entry))
                if digest != digests[entry.path]:
                    raise DigestMismatchError(f"{entry.path!r} has SHA-256 {digest}: expected {digests[entry.path]}")
            for parent in {parent for path in self.entries for parent in PurePosixPath(path).parents}:
                sync_folder(folder / parent)


def _write_entry(file: BinaryIO, name: str, content: bytes | Path) -> Entry:
    offset = file.tell()
    file.seek(LOCAL.size + len(name), os.SEEK_CUR)
    deflater = zlib.compressobj(_LEVEL, zlib.DEFLATED, RAW_DEFLATE)
    crc32, size = 0, 0
    for chunk in _chunks(content):
        crc32, size = zlib.crc32(chunk, crc32), size + len(chunk)
        file.write(deflater.compress(chunk))
    file.write(deflater.flush())
    end = file.tell()
    _check_fits(size, what=f"file {name!r}")
    _check_fits(end, what=f"the archive up to {name!r}")
    compressed = end - offset - LOCAL.size - len(name)
    entry = Entry(path=name, crc32=crc32, compressed_bytes=compressed, size_bytes=size, offset=offset)
    file.seek(offset)
    file.write(entry.local_header())
    file.seek(end)
    return entry


def _check_fits(size_bytes: int, *, what: str) -> None:
    if size_bytes > MAX_SIZE:
        raise ArchiveSizeError(f"{what} has {size_bytes} bytes: the format has room for {MAX_SIZE}")


def _chunks(content: bytes | Path) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield content
        return
    with content.open("rb") as source:
        while chunk := source.read(_CHUNK_BYTES):
            yield chunk


def _write_file(path: Path, chunks: Iterator[bytes]) -> str:
    digest = hashlib.sha256()
    with path.open("xb") as file:
        for chunk in chunks:
            digest.update(chunk)
            file.write(chunk)
        file.flush()
        os.fchmod(file.fileno(), 0o644)
        os.fsync(file.fileno())
    return digest.hexdigest()


@contextmanager
def archive_errors(path: Path) -> Iterator[None]:
    """Convert errors of the operating system to package errors.

    Args:
        path: The path for messages of errors that name none.

    Raises:
        NoSpaceError: The file system is full or a quota is reached.
        ArchiveError: Another operation of the block failed.
    """
    try:
        yield
    except OSError as error:
        message = f"{error.filename or path}: {error.strerror or error}"
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            # The path itself may not exist.
            disk = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
            free = format_bytes(shutil.disk_usage(disk).free)
            raise NoSpaceError(f"{message}: {free} are free") from error
        raise ArchiveError(message) from error
