"""Loads the trusted public keys: one file, or a folder of files."""

from __future__ import annotations

from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from drupelet_shared.errors import KeyFileError
from drupelet_shared.package.signature import PublicKey, identify_key

_MAX_KEY_FILE_BYTES = 16 * 2**10


def load_public_key(path: Path) -> PublicKey:
    """Read a public key in PEM.

    Raises:
        KeyFileError: The file cannot be read or holds no P-256 public key.
    """
    data = read_key_file(path)
    try:
        key = serialization.load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyFileError(f"key file {path}: expected a public key in PEM: the .pub file of a pair") from error
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise KeyFileError(f"key file {path}: holds a {type(key).__name__}: expected ECDSA P-256")
    check_curve(path, key.curve)
    return identify_key(key)


def load_trust_folder(folder: Path) -> tuple[PublicKey, ...]:
    """Return the keys in the folder's `*.pub` files; several at once are how keys are rotated.

    An empty folder is valid: no key is trusted.

    Raises:
        KeyFileError: The folder does not exist, or one of the files holds no P-256 public key.
    """
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix == ".pub")
    except OSError as error:
        raise KeyFileError(f"trust folder {folder}: {error.strerror}") from error
    # The same key under two names is one key.
    return tuple({key.id: key for key in map(load_public_key, paths)}.values())


def read_key_file(path: Path) -> bytes:
    """Return the bytes of a key file.

    Raises:
        KeyFileError: The file cannot be read or is too large for a key.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_KEY_FILE_BYTES + 1)
    except OSError as error:
        raise KeyFileError(f"key file {path}: {error.strerror}") from error
    if len(data) > _MAX_KEY_FILE_BYTES:
        raise KeyFileError(f"key file {path}: has more than {_MAX_KEY_FILE_BYTES} bytes, too many for a key")
    return data


def check_curve(path: Path, curve: ec.EllipticCurve) -> None:
    """Check that a key is on the curve P-256.

    Raises:
        KeyFileError: The key is on another curve.
    """
    if not isinstance(curve, ec.SECP256R1):
        raise KeyFileError(f"key file {path}: holds a key on curve {curve.name}: expected secp256r1 (P-256)")
