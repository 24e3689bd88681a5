from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from drupelet_host.packaging.keys import generate_key_pair, load_private_key
from drupelet_shared.errors import KeyFileError
from drupelet_shared.package.signature import identify_key
from drupelet_shared.package.trust import load_public_key
from support.package.packages import write_key_pair


def test_a_generated_pair_belongs_together(tmp_path: Path) -> None:
    key = generate_key_pair(tmp_path / "k")
    assert identify_key(load_private_key(tmp_path / "k.key").public_key()).id == key.id
    assert load_public_key(tmp_path / "k.pub").id == key.id


def test_only_the_owner_reads_a_private_key(tmp_path: Path) -> None:
    generate_key_pair(tmp_path / "k")
    assert stat.S_IMODE((tmp_path / "k.key").stat().st_mode) == 0o600


def test_a_dot_in_the_prefix_is_part_of_the_name(tmp_path: Path) -> None:
    generate_key_pair(tmp_path / "release-1.0")
    assert {path.name for path in tmp_path.iterdir()} == {"release-1.0.key", "release-1.0.pub"}


@pytest.mark.parametrize("existing", ["k.key", "k.pub"])
def test_an_existing_file_is_never_overwritten(tmp_path: Path, existing: str) -> None:
    (tmp_path / existing).write_text("precious")
    with pytest.raises(KeyFileError, match="never overwritten"):
        generate_key_pair(tmp_path / "k")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["precious"]


def test_a_folder_that_is_not_there_is_our_error(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match=r"there is no folder .*none: make it first"):
        generate_key_pair(tmp_path / "none" / "k")


def test_an_encrypted_key_is_refused_by_name(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    encryption = serialization.BestAvailableEncryption(b"secret")
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    (tmp_path / "k.key").write_bytes(pem)
    with pytest.raises(KeyFileError, match=r"k\.key: is encrypted"):
        load_private_key(tmp_path / "k.key")


def test_a_key_on_another_curve_does_not_sign(tmp_path: Path) -> None:
    write_key_pair(tmp_path / "k", curve=ec.SECP521R1())
    with pytest.raises(KeyFileError, match="secp521r1: expected secp256r1"):
        load_private_key(tmp_path / "k.key")


def test_a_key_of_another_kind_does_not_sign(tmp_path: Path) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "k.key").write_bytes(pem)
    with pytest.raises(KeyFileError, match="Ed25519PrivateKey: expected ECDSA P-256"):
        load_private_key(tmp_path / "k.key")


def test_a_public_key_does_not_sign(tmp_path: Path) -> None:
    write_key_pair(tmp_path / "k")
    with pytest.raises(KeyFileError, match="expected a private key in PEM"):
        load_private_key(tmp_path / "k.pub")


def test_a_key_file_that_is_not_there_is_our_error(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="No such file"):
        load_private_key(tmp_path / "k.key")
