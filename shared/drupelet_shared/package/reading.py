"""Packages as a whole: archive, manifest, digests and signature checked together, packed or unpacked."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from drupelet_shared.errors import (
    ArchiveSizeError,
    DigestMismatchError,
    InvalidValueError,
    LinkEntryError,
    ManifestError,
    MissingFileError,
    NoSpaceError,
    SignatureMissingError,
    UndeclaredFileError,
)
from drupelet_shared.package.archive import archive_errors, open_archive
from drupelet_shared.package.limits import DEFAULT_LIMITS, Limits, check_count, check_sizes
from drupelet_shared.package.manifest import MANIFEST_PATH, SIGNATURE_PATH, Manifest, manifest_digest, parse_manifest
from drupelet_shared.package.oms import MAX_SIGNATURE_BYTES
from drupelet_shared.package.paths import check_path
from drupelet_shared.package.signature import PublicKey, verify_digests

MAX_MANIFEST_BYTES = 4 * 2**20

# Reads a small file of the package: its path, and the most bytes it may have.
_Read = Callable[[str, int], bytes]


@dataclass(frozen=True, slots=True)
class UnpackedPackage:
    """A package on disk; every byte of it was checked.

    Attributes:
        folder: The folder of its files.
        manifest: Its manifest.
        digest: The SHA-256 of `manifest.json`, which identifies the package.
        signed_by: The identifier of the trusted key that signed it; None where no signature was required.
    """

    folder: Path
    manifest: Manifest
    digest: str
    signed_by: str | None


def unpack_package(
    archive: Path,
    folder: Path,
    *,
    trusted_keys: Sequence[PublicKey] | None,
    limits: Limits = DEFAULT_LIMITS,
    room_bytes: int | None = None,
) -> UnpackedPackage:
    """Check a package and extract it. Nothing is extracted before manifest and signature have been accepted.

    Args:
        archive: The `.drupe` file.
        folder: The destination; created if absent, and emptied again after an error.
        trusted_keys: The keys whose signatures are accepted; None requires no signature, which callers must report.
        limits: Limits that hold whatever the archive declares.
        room_bytes: Maximum size after extraction; None where only the file system limits it.

    Returns:
        The extracted package.

    Raises:
        PackageError: The package is refused; the subclass and its code state why.
        InvalidValueError: The folder is not empty.
    """
    with open_archive(archive, limits=limits) as opened:
        if room_bytes is not None and opened.total_bytes > room_bytes:
            raise NoSpaceError(f"{archive.name} extracts to {opened.total_bytes} bytes: there is room for {room_bytes}")
        sizes = {path: entry.size_bytes for path, entry in opened.entries.items()}
        contents = _check_contents(sizes, lambda path, limit: opened.read(path, limit_bytes=limit), trusted_keys)
        with archive_errors(folder), _emptied_on_failure(folder):
            opened.extract(folder, digests=contents.digests)
    return contents.unpacked(folder)


def read_package_folder(
    folder: Path, *, trusted_keys: Sequence[PublicKey] | None, limits: Limits = DEFAULT_LIMITS
) -> UnpackedPackage:
    """Check an unpacked package as strictly as a packed one.

    Args:
        folder: The package's files and nothing else.
        trusted_keys: The keys whose signatures are accepted; None requires no signature, which callers must report.
        limits: Limits that hold whatever the package declares.

    Returns:
        The checked package.

    Raises:
        PackageError: The package is refused; the subclass and its code state why.
    """
    with archive_errors(folder):
        sizes = dict(_list_files(folder, prefix=""))
        check_count(len(sizes), limits)
        check_sizes(sizes, limits)
        contents = _check_contents(sizes, lambda path, limit: _read(folder / path, limit), trusted_keys)
        for path, declared in contents.digests.items():
            with (folder / path).open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            if digest != declared:
                raise DigestMismatchError(f"{path!r} has SHA-256 {digest}: expected {declared}")
    return contents.unpacked(folder)


def covered_digests(manifest: Manifest, digest: str) -> dict[str, str]:
    """Return the SHA-256 of every file that a package's signature covers, by path: all but the signature itself.

    Args:
        manifest: The package's manifest.
        digest: The SHA-256 of its bytes.
    """
    return {MANIFEST_PATH: digest} | {entry.path: entry.sha256 for entry in manifest.files}


@dataclass(frozen=True, slots=True)
class _Contents:
    manifest: Manifest
    digest: str
    digests: Mapping[str, str]
    signed_by: str | None

    def unpacked(self, folder: Path) -> UnpackedPackage:
        return UnpackedPackage(folder, manifest=self.manifest, digest=self.digest, signed_by=self.signed_by)


def _check_contents(sizes: Mapping[str, int], read: _Read, trusted_keys: Sequence[PublicKey] | None) -> _Contents:
    if MANIFEST_PATH not in sizes:
        raise ManifestError(f"{MANIFEST_PATH} is missing: this is not a package")
    data = read(MANIFEST_PATH, MAX_MANIFEST_BYTES)
    manifest, digest = parse_manifest(data), manifest_digest(data)
    _check_declared(manifest, sizes)
    digests = covered_digests(manifest, digest)
    if SIGNATURE_PATH not in sizes:
        if trusted_keys is not None:
            raise SignatureMissingError(f"{manifest.name} {manifest.version} has no {SIGNATURE_PATH}: expected one")
        return _Contents(manifest, digest, digests, signed_by=None)
    signature = read(SIGNATURE_PATH, MAX_SIGNATURE_BYTES)
    signed_by = None if trusted_keys is None else verify_digests(signature, digests, trusted_keys)
    return _Contents(manifest, digest, digests | {SIGNATURE_PATH: hashlib.sha256(signature).hexdigest()}, signed_by)


def _check_declared(manifest: Manifest, sizes: Mapping[str, int]) -> None:
    declared = {entry.path: entry.size_bytes for entry in manifest.files}
    if reserved := sorted(declared.keys() & {MANIFEST_PATH, SIGNATURE_PATH}):
        raise ManifestError(f"{MANIFEST_PATH} declares {', '.join(reserved)}: it declares the other files alone")
    if undeclared := sorted(sizes.keys() - declared.keys() - {MANIFEST_PATH, SIGNATURE_PATH}):
        raise UndeclaredFileError(f"{MANIFEST_PATH} does not declare {', '.join(undeclared)}")
    if missing := sorted(declared.keys() - sizes.keys()):
        raise MissingFileError(f"{MANIFEST_PATH} declares {', '.join(missing)}: not there")
    for path, size_bytes in declared.items():
        if sizes[path] != size_bytes:
            raise ArchiveSizeError(f"{path!r} has {sizes[path]} bytes: {MANIFEST_PATH} declares {size_bytes}")


def _list_files(folder: Path, *, prefix: str) -> Iterator[tuple[str, int]]:
    for child in sorted(folder.iterdir()):
        path = check_path(prefix + child.name)
        if child.is_symlink() or not (child.is_file() or child.is_dir()):
            raise LinkEntryError(f"{path!r} is a link or a special file: only regular files are allowed")
        if child.is_dir():
            yield from _list_files(child, prefix=f"{path}/")
        else:
            yield path, child.stat().st_size


def _read(path: Path, limit_bytes: int) -> bytes:
    with path.open("rb") as file:
        data = file.read(limit_bytes + 1)
    if len(data) > limit_bytes:
        raise ArchiveSizeError(f"{path.name!r} has more than {limit_bytes} bytes, the limit")
    return data


@contextmanager
def _emptied_on_failure(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise InvalidValueError(f"folder {folder} is not empty: a package is unpacked into an empty one")
    try:
        yield
    except BaseException:
        for child in folder.iterdir():
            shutil.rmtree(child) if child.is_dir() else child.unlink()
        raise
