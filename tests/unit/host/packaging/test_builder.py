from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from drupelet_host.packaging.builder import build_package
from drupelet_shared.errors import ArchiveError, ManifestError, UnsafePathError
from drupelet_shared.package.manifest import MANIFEST_PATH, SIGNATURE_PATH
from drupelet_shared.package.reading import unpack_package
from drupelet_shared.package.signature import identify_key
from support.package.packages import FILES, build, describe

KEY = ec.generate_private_key(ec.SECP256R1())


def test_the_file_is_named_after_name_and_version(tmp_path: Path) -> None:
    assert build(tmp_path / "new").path == tmp_path / "new" / "digits-1.0.0.drupe"


def test_the_same_input_gives_the_same_bytes_signature_included(tmp_path: Path) -> None:
    first, second = (build(tmp_path / name, signing_key=KEY).path.read_bytes() for name in ("1", "2"))
    assert first == second


def test_files_on_disk_and_in_memory_give_the_same_package(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(FILES["variants/ort-fp32/model.onnx"])
    files: dict[str, bytes | Path] = {**FILES, "variants/ort-fp32/model.onnx": tmp_path / "model"}
    built = build_package(tmp_path / "1", describe(), files)
    assert built.path.read_bytes() == build(tmp_path / "2").path.read_bytes()


def test_another_release_is_another_digest(tmp_path: Path) -> None:
    second = build_package(tmp_path / "2", describe(release=2), FILES)
    assert second.digest != build(tmp_path / "1").digest


def test_what_is_built_is_what_a_device_unpacks(tmp_path: Path) -> None:
    built = build(tmp_path, signing_key=KEY)
    key = identify_key(KEY.public_key())
    unpacked = unpack_package(built.path, tmp_path / "out", trusted_keys=(key,))
    assert (unpacked.manifest, unpacked.digest) == (built.manifest, built.digest)
    assert unpacked.signed_by == built.signed_by == key.id


def test_faults_of_the_description_are_all_named(tmp_path: Path) -> None:
    description = dataclasses.replace(describe(), name="no/slash", release=0)
    with pytest.raises(ManifestError, match=r"name: .*release: "):
        build_package(tmp_path, description, FILES)
    assert list(tmp_path.iterdir()) == []


def test_a_variant_without_its_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"model\.onnx"):
        build_package(tmp_path, describe(), {"golden/ort-fp32.npz": b""})


@pytest.mark.parametrize("path", [MANIFEST_PATH, SIGNATURE_PATH])
def test_the_builders_own_files_cannot_be_handed_in(tmp_path: Path, path: str) -> None:
    with pytest.raises(ManifestError, match="written by the builder"):
        build_package(tmp_path, describe(), {**FILES, path: b""})


@pytest.mark.parametrize("path", ["../x", "", "a" * 256])
def test_a_path_that_devices_refuse_is_not_built(tmp_path: Path, path: str) -> None:
    with pytest.raises(UnsafePathError):
        build_package(tmp_path, describe(), {**FILES, path: b""})


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="gone"):
        build_package(tmp_path, describe(), {**FILES, "labels.txt": tmp_path / "gone"})
