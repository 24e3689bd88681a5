from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from drupelet_shared.errors import KeyFileError
from drupelet_shared.package.signature import identify_key
from drupelet_shared.package.trust import load_public_key, load_trust_folder
from support.package.packages import write_key_pair


def test_a_trust_folder_gives_every_key_in_it_once(tmp_path: Path) -> None:
    expected = {identify_key(write_key_pair(tmp_path / name).public_key()).id for name in ("old", "new")}
    (tmp_path / "copy.pub").write_bytes((tmp_path / "new.pub").read_bytes())
    (tmp_path / "README").write_text("not a key")
    keys = load_trust_folder(tmp_path)
    assert {key.id for key in keys} == expected
    assert len(keys) == 2


def test_an_empty_trust_folder_trusts_nobody(tmp_path: Path) -> None:
    assert load_trust_folder(tmp_path) == ()


def test_a_missing_trust_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match=r"trust folder .*none: No such file"):
        load_trust_folder(tmp_path / "none")


def test_a_broken_key_file_is_named_and_not_skipped(tmp_path: Path) -> None:
    write_key_pair(tmp_path / "good")
    (tmp_path / "broken.pub").write_text("-----BEGIN PUBLIC KEY-----\n")
    with pytest.raises(KeyFileError, match=r"broken\.pub"):
        load_trust_folder(tmp_path)


def test_a_key_on_another_curve_is_refused(tmp_path: Path) -> None:
    write_key_pair(tmp_path / "k", curve=ec.SECP384R1())
    with pytest.raises(KeyFileError, match="secp384r1: expected secp256r1"):
        load_public_key(tmp_path / "k.pub")


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    public = ed25519.Ed25519PrivateKey.generate().public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "k.pub").write_bytes(pem)
    with pytest.raises(KeyFileError, match="Ed25519PublicKey: expected ECDSA P-256"):
        load_public_key(tmp_path / "k.pub")


def test_a_private_key_is_no_public_key(tmp_path: Path) -> None:
    write_key_pair(tmp_path / "k")
    with pytest.raises(KeyFileError, match="expected a public key in PEM"):
        load_public_key(tmp_path / "k.key")


def test_a_huge_key_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "k.pub").write_bytes(b"x" * 20_000)
    with pytest.raises(KeyFileError, match="more than 16384 bytes"):
        load_public_key(tmp_path / "k.pub")
