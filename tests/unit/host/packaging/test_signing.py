from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from drupelet_host.packaging.signing import sign_package
from drupelet_shared.errors import ArchiveError, InvalidValueError, UndeclaredFileError
from drupelet_shared.package.reading import read_package_folder, unpack_package
from drupelet_shared.package.signature import identify_key
from support.package.packages import build

OLD, NEW = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
NEW_ID = identify_key(NEW.public_key()).id


def test_signing_a_package_again_gives_what_building_it_with_that_key_gives(tmp_path: Path) -> None:
    old, new = build(tmp_path / "old", signing_key=OLD), build(tmp_path / "new", signing_key=NEW)
    assert sign_package(old.path, NEW) == old.path
    assert old.path.read_bytes() == new.path.read_bytes()


def test_an_output_leaves_the_package_as_it_was(tmp_path: Path) -> None:
    built = build(tmp_path)
    before = built.path.read_bytes()
    signed = sign_package(built.path, NEW, output=tmp_path / "signed.drupe")
    assert built.path.read_bytes() == before
    keys = (identify_key(NEW.public_key()),)
    assert unpack_package(signed, tmp_path / "out", trusted_keys=keys).signed_by == NEW_ID


def test_an_unpacked_package_is_signed_in_its_folder(tmp_path: Path) -> None:
    unpack_package(build(tmp_path).path, tmp_path / "out", trusted_keys=None)
    sign_package(tmp_path / "out", NEW)
    keys = (identify_key(NEW.public_key()),)
    assert read_package_folder(tmp_path / "out", trusted_keys=keys).signed_by == NEW_ID


def test_an_output_for_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match="signed in place"):
        sign_package(tmp_path, NEW, output=tmp_path / "x.drupe")


def test_a_package_with_an_undeclared_file_is_not_signed(tmp_path: Path) -> None:
    unpack_package(build(tmp_path).path, tmp_path / "out", trusted_keys=None)
    (tmp_path / "out" / "extra").touch()
    with pytest.raises(UndeclaredFileError):
        sign_package(tmp_path / "out", NEW)
    assert not (tmp_path / "out" / "model.sig").exists()


def test_a_damaged_archive_is_not_signed_and_not_touched(tmp_path: Path) -> None:
    (tmp_path / "x.drupe").write_bytes(b"damaged")
    with pytest.raises(ArchiveError):
        sign_package(tmp_path / "x.drupe", NEW)
    assert (tmp_path / "x.drupe").read_bytes() == b"damaged"
