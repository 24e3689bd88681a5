"""Signs existing packages, packed or unpacked."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from drupelet_shared.errors import InvalidValueError, PackageError
from drupelet_shared.files import write_atomically
from drupelet_shared.package.archive import archive_errors, write_archive
from drupelet_shared.package.manifest import MANIFEST_PATH, SIGNATURE_PATH
from drupelet_shared.package.reading import UnpackedPackage, covered_digests, read_package_folder, unpack_package
from drupelet_shared.package.signature import PublicKey, sign_digests


@contextmanager
def open_package(path: Path, *, trusted_keys: tuple[PublicKey, ...] | None) -> Iterator[UnpackedPackage]:
    """Yield a verified package, packed or unpacked; a packed one is extracted while the block runs.

    Raises:
        PackageError: The package is invalid, or its signature is not accepted; the message names the package.
    """
    with tempfile.TemporaryDirectory(prefix="drupelet-") as folder:
        try:
            if path.is_dir():
                package = read_package_folder(path, trusted_keys=trusted_keys)
            else:
                package = unpack_package(path, Path(folder), trusted_keys=trusted_keys)
        except PackageError as error:
            if str(path) in str(error):
                raise
            raise type(error)(f"package {path}: {error}") from error
        yield package


def sign_package(path: Path, signing_key: ec.EllipticCurvePrivateKey, *, output: Path | None = None) -> Path:
    """Sign a package, replacing any signature it has; the content is verified first.

    Args:
        path: A `.drupe` file, or the folder of an unpacked package.
        signing_key: A P-256 private key.
        output: The signed archive to write; None replaces the package.

    Returns:
        The file that was written: the archive, or the signature in the folder.

    Raises:
        PackageError: The package is damaged.
        InvalidValueError: `output` is given for a folder, which is signed in place.
    """
    if output is not None and path.is_dir():
        raise InvalidValueError(f"package {path} is a folder, which is signed in place: omit the output")
    with open_package(path, trusted_keys=None) as package:
        manifest = package.manifest
        name = f"{manifest.name}-{manifest.version}"
        signature = sign_digests(name, covered_digests(manifest, package.digest), signing_key)
        if path.is_dir():
            with archive_errors(path):
                write_atomically(path / SIGNATURE_PATH, signature)
            return path / SIGNATURE_PATH
        files: dict[str, bytes | Path] = {entry.path: package.folder / entry.path for entry in manifest.files}
        files |= {MANIFEST_PATH: package.folder / MANIFEST_PATH, SIGNATURE_PATH: signature}
        write_archive(output or path, files)
        return output or path
