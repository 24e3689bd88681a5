"""Our signatures against the OpenSSF library `model-signing`, through its own command line, both ways."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from drupelet_host.packaging.keys import generate_key_pair
from drupelet_shared.errors import DigestMismatchError, SignatureInvalidError, SignatureUntrustedError
from drupelet_shared.package.reading import read_package_folder, unpack_package
from drupelet_shared.package.signature import PublicKey, key_hint
from drupelet_shared.package.trust import load_public_key
from support.package.packages import build, write_key_pair


def model_signing(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "model_signing", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def verify_with_library(folder: Path, public_key: Path) -> subprocess.CompletedProcess[str]:
    return model_signing("verify", "key", folder, "--signature", folder / "model.sig", "--public_key", public_key)


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    """The folder of a package that we signed with `ours.key`."""
    signing_key = write_key_pair(tmp_path / "ours")
    built = build(tmp_path, signing_key=signing_key)
    unpack_package(built.path, tmp_path / "package", trusted_keys=(load_public_key(tmp_path / "ours.pub"),))
    return tmp_path / "package"


@pytest.fixture
def theirs(tmp_path: Path) -> tuple[Path, PublicKey]:
    """The folder of a package that the library signed with a key from our `keygen`, and that key."""
    key = generate_key_pair(tmp_path / "k")
    folder = tmp_path / "package"
    unpack_package(build(tmp_path).path, folder, trusted_keys=None)
    private = tmp_path / "k.key"
    signed = model_signing("sign", "key", folder, "--signature", folder / "model.sig", "--private_key", private)
    assert signed.returncode == 0, signed.stderr
    return folder, key


def test_the_library_accepts_a_package_that_we_signed(ours: Path, tmp_path: Path) -> None:
    verified = verify_with_library(ours, tmp_path / "ours.pub")
    assert (verified.returncode, verified.stderr) == (0, "")


def test_the_library_refuses_our_package_under_another_key(ours: Path, tmp_path: Path) -> None:
    write_key_pair(tmp_path / "other")
    assert verify_with_library(ours, tmp_path / "other.pub").returncode == 1


def test_we_accept_a_package_that_the_library_signed(theirs: tuple[Path, PublicKey]) -> None:
    folder, key = theirs
    assert read_package_folder(folder, trusted_keys=(key,)).signed_by == key.id


def test_the_librarys_key_hint_is_our_key_id(theirs: tuple[Path, PublicKey]) -> None:
    folder, key = theirs
    assert key_hint((folder / "model.sig").read_bytes()) == key.id


def test_a_changed_byte_is_refused_by_both(theirs: tuple[Path, PublicKey], tmp_path: Path) -> None:
    folder, key = theirs
    model = folder / "variants/ort-fp32/model.onnx"
    data = bytearray(model.read_bytes())
    data[100] ^= 1
    model.write_bytes(data)
    assert verify_with_library(folder, tmp_path / "k.pub").returncode == 1
    with pytest.raises(DigestMismatchError):
        read_package_folder(folder, trusted_keys=(key,))


def test_a_changed_manifest_is_refused_by_both(ours: Path, tmp_path: Path) -> None:
    manifest = ours / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"release": 1', b'"release": 2'))
    assert verify_with_library(ours, tmp_path / "ours.pub").returncode == 1
    with pytest.raises(SignatureInvalidError):
        read_package_folder(ours, trusted_keys=(load_public_key(tmp_path / "ours.pub"),))


def test_we_refuse_a_file_that_the_library_was_told_to_ignore(tmp_path: Path) -> None:
    key = generate_key_pair(tmp_path / "k")
    folder = tmp_path / "package"
    unpack_package(build(tmp_path).path, folder, trusted_keys=None)
    arguments = ("--signature", folder / "model.sig", "--private_key", tmp_path / "k.key")
    signed = model_signing("sign", "key", folder, *arguments, "--ignore-paths", folder / "labels.txt")
    assert signed.returncode == 0, signed.stderr
    with pytest.raises(SignatureInvalidError, match=r"'labels\.txt' is not signed"):
        read_package_folder(folder, trusted_keys=(key,))


def test_we_refuse_what_the_library_signs_on_another_curve(tmp_path: Path) -> None:
    write_key_pair(tmp_path / "p384", curve=ec.SECP384R1())
    trusted = generate_key_pair(tmp_path / "k")
    folder = tmp_path / "package"
    unpack_package(build(tmp_path).path, folder, trusted_keys=None)
    private = tmp_path / "p384.key"
    signed = model_signing("sign", "key", folder, "--signature", folder / "model.sig", "--private_key", private)
    assert signed.returncode == 0, signed.stderr
    with pytest.raises(SignatureUntrustedError):
        read_package_folder(folder, trusted_keys=(trusted,))
