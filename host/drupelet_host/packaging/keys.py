"""Creates and reads signing keys, in PEM files that only their owner can read."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from drupelet_shared.errors import KeyFileError
from drupelet_shared.files import sync_folder
from drupelet_shared.package.signature import PublicKey, identify_key
from drupelet_shared.package.trust import check_curve, read_key_file

PRIVATE_SUFFIX, PUBLIC_SUFFIX = ".key", ".pub"


def generate_key_pair(prefix: Path) -> PublicKey:
    """Create a P-256 key pair in `PREFIX.key` and `PREFIX.pub`; existing files are never overwritten.

    Raises:
        KeyFileError: One of the files exists, or cannot be written.
    """
    private_path, public_path = (prefix.with_name(prefix.name + suffix) for suffix in (PRIVATE_SUFFIX, PUBLIC_SUFFIX))
    private = ec.generate_private_key(ec.SECP256R1())
    public = private.public_key()
    pem = serialization.Encoding.PEM
    if public_path.exists():
        raise KeyFileError(f"key file {public_path} exists: keys are never overwritten")
    _create(
        private_path,
        private.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
        mode=0o600,
    )
    _create(public_path, public.public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo), mode=0o644)
    return identify_key(public)


def load_private_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Read a signing key from a PEM file.

    Raises:
        KeyFileError: The file cannot be read, is encrypted, or does not contain a P-256 private key.
    """
    data = read_key_file(path)
    try:
        key = serialization.load_pem_private_key(data, password=None)
    except TypeError as error:
        raise KeyFileError(f"key file {path}: is encrypted: expected a key without a password") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyFileError(f"key file {path}: expected a private key in PEM: the .key file of a pair") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise KeyFileError(f"key file {path}: holds a {type(key).__name__}: expected ECDSA P-256")
    check_curve(path, key.curve)
    return key


def _create(path: Path, data: bytes, *, mode: int) -> None:
    # Created with its final mode, so that other users can never read a private key.
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        sync_folder(path.parent)
    except FileExistsError as error:
        raise KeyFileError(f"key file {path} exists: keys are never overwritten") from error
    except FileNotFoundError as error:
        raise KeyFileError(f"key file {path}: there is no folder {path.parent}: make it first") from error
    except OSError as error:
        raise KeyFileError(f"key file {path}: {error.strerror}") from error
