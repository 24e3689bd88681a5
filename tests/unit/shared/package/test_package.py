from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from drupelet_shared.errors import (
    ArchiveError,
    ArchiveSizeError,
    DigestMismatchError,
    InvalidValueError,
    LinkEntryError,
    ManifestError,
    MissingFileError,
    NoSpaceError,
    PackageError,
    SignatureInvalidError,
    SignatureMissingError,
    SignatureUntrustedError,
    TooManyEntriesError,
    UndeclaredFileError,
    UnsafePathError,
)
from drupelet_shared.package.archive import write_archive
from drupelet_shared.package.limits import Limits
from drupelet_shared.package.manifest import MANIFEST_PATH, SIGNATURE_PATH, manifest_digest
from drupelet_shared.package.reading import MAX_MANIFEST_BYTES, covered_digests, read_package_folder, unpack_package
from drupelet_shared.package.signature import identify_key, sign_digests
from support.package.packages import FILES, build, make_manifest
from support.package.zips import RawEntry, deflate, pack

KEY = ec.generate_private_key(ec.SECP256R1())
TRUSTED = (identify_key(KEY.public_key()),)
OTHERS = (identify_key(ec.generate_private_key(ec.SECP256R1()).public_key()),)


def signed_files(files: dict[str, bytes] = FILES) -> dict[str, bytes]:
    """The files of a signed package, for a test to change one."""
    manifest = make_manifest(files)
    data = manifest.to_bytes()
    signature = sign_digests("x", covered_digests(manifest, manifest_digest(data)), KEY)
    return {**files, MANIFEST_PATH: data, SIGNATURE_PATH: signature}


def write_folder(folder: Path, files: dict[str, bytes]) -> Path:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


def test_a_signed_package_unpacks_with_its_manifest_digest_and_signer(tmp_path: Path) -> None:
    built = build(tmp_path, signing_key=KEY)
    unpacked = unpack_package(built.path, tmp_path / "out", trusted_keys=TRUSTED)
    assert unpacked.manifest == built.manifest
    assert unpacked.digest == built.digest == manifest_digest((tmp_path / "out" / MANIFEST_PATH).read_bytes())
    assert unpacked.signed_by == TRUSTED[0].id
    assert {path: (tmp_path / "out" / path).read_bytes() for path in FILES} == FILES


def test_an_unpacked_package_reads_as_it_was_unpacked(tmp_path: Path) -> None:
    built = build(tmp_path, signing_key=KEY)
    unpacked = unpack_package(built.path, tmp_path / "out", trusted_keys=TRUSTED)
    assert read_package_folder(tmp_path / "out", trusted_keys=TRUSTED) == unpacked


def test_an_unsigned_package_is_accepted_only_where_no_signature_is_asked_for(tmp_path: Path) -> None:
    built = build(tmp_path)
    with pytest.raises(SignatureMissingError):
        unpack_package(built.path, tmp_path / "out", trusted_keys=TRUSTED)
    assert not (tmp_path / "out").exists()
    assert unpack_package(built.path, tmp_path / "out", trusted_keys=None).signed_by is None


def test_trusting_nobody_is_not_the_same_as_asking_for_no_signature(tmp_path: Path) -> None:
    with pytest.raises(SignatureUntrustedError, match="trusted keys are none"):
        unpack_package(build(tmp_path, signing_key=KEY).path, tmp_path / "out", trusted_keys=())


def test_a_folder_that_holds_something_is_not_unpacked_into(tmp_path: Path) -> None:
    built = build(tmp_path)
    with pytest.raises(InvalidValueError, match="not empty"):
        unpack_package(built.path, write_folder(tmp_path / "out", {"mine": b""}), trusted_keys=None)
    assert (tmp_path / "out/mine").exists()


def test_a_package_larger_than_the_room_there_is_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    built = build(tmp_path)
    with pytest.raises(NoSpaceError, match="there is room for 100"):
        unpack_package(built.path, tmp_path / "out", trusted_keys=None, room_bytes=100)
    assert not (tmp_path / "out").exists()


Change = Callable[[dict[str, bytes]], object]


def set_file(path: str, content: bytes) -> Change:
    return lambda files: files.update({path: content})


def drop_file(path: str) -> Change:
    return lambda files: files.pop(path)


def redeclare(declared: dict[str, bytes]) -> Change:
    return lambda files: files.update({MANIFEST_PATH: make_manifest(declared).to_bytes()})


MODEL = "variants/ort-fp32/model.onnx"
REFUSALS: dict[str, tuple[Change, type[PackageError]]] = {
    "an undeclared file": (set_file("extra.so", b"x"), UndeclaredFileError),
    "a missing file": (drop_file(MODEL), MissingFileError),
    "a shorter file": (set_file(MODEL, FILES[MODEL][:-1]), ArchiveSizeError),
    "a changed file": (set_file(MODEL, FILES[MODEL][::-1]), DigestMismatchError),
    "no manifest": (drop_file(MANIFEST_PATH), ManifestError),
    "a manifest that is not JSON": (set_file(MANIFEST_PATH, b"{"), ManifestError),
    "a manifest of a later schema": (set_file(MANIFEST_PATH, b'{"schema_version": 2}'), ManifestError),
    "a deeply nested manifest": (set_file(MANIFEST_PATH, b"[" * 100_000), ManifestError),
    "a huge manifest": (set_file(MANIFEST_PATH, b" " * (MAX_MANIFEST_BYTES + 1)), ArchiveSizeError),
    "a huge signature": (set_file(SIGNATURE_PATH, b" " * (2**20 + 1)), ArchiveSizeError),
    "a manifest that declares the signature": (redeclare(FILES | {SIGNATURE_PATH: b""}), ManifestError),
    "a manifest that was changed after signing": (
        lambda files: files.update({MANIFEST_PATH: files[MANIFEST_PATH] + b"\n"}),
        SignatureInvalidError,
    ),
    "no signature": (drop_file(SIGNATURE_PATH), SignatureMissingError),
    "a broken signature": (set_file(SIGNATURE_PATH, b"{}"), SignatureInvalidError),
}


@pytest.mark.parametrize(("change", "error"), REFUSALS.values(), ids=REFUSALS.keys())
def test_a_package_with_one_fault_is_refused_with_that_faults_error(
    tmp_path: Path, change: Change, error: type[PackageError]
) -> None:
    files = signed_files()
    change(files)
    write_archive(tmp_path / "x.drupe", dict(files))
    with pytest.raises(error) as packed:
        unpack_package(tmp_path / "x.drupe", tmp_path / "out", trusted_keys=TRUSTED)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())
    with pytest.raises(error) as unpacked:
        read_package_folder(write_folder(tmp_path / "folder", files), trusted_keys=TRUSTED)
    assert type(packed.value) is type(unpacked.value) is error


def test_a_package_of_another_signer_is_refused(tmp_path: Path) -> None:
    built = build(tmp_path, signing_key=KEY)
    with pytest.raises(SignatureUntrustedError):
        unpack_package(built.path, tmp_path / "out", trusted_keys=OTHERS)
    assert not (tmp_path / "out").exists()


def test_what_was_extracted_before_a_bad_file_is_removed(tmp_path: Path) -> None:
    files = signed_files()
    bad = dict.fromkeys([MODEL], deflate(FILES[MODEL] + b"more"))
    entries = [RawEntry(name=path.encode(), content=files[path], data=bad.get(path)) for path in sorted(files)]
    (tmp_path / "x.drupe").write_bytes(pack(entries))
    (tmp_path / "out").mkdir()
    with pytest.raises(ArchiveSizeError, match="more than the 10240 bytes"):
        unpack_package(tmp_path / "x.drupe", tmp_path / "out", trusted_keys=TRUSTED)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("limits", "error"),
    [
        (Limits(entries=3), TooManyEntriesError),
        (Limits(file_bytes=1000), ArchiveSizeError),
        (Limits(total_bytes=1000), ArchiveSizeError),
    ],
)
def test_a_package_over_a_limit_is_refused_packed_and_unpacked(
    tmp_path: Path, limits: Limits, error: type[PackageError]
) -> None:
    built = build(tmp_path)
    unpack_package(built.path, tmp_path / "out", trusted_keys=None)
    with pytest.raises(error):
        unpack_package(built.path, tmp_path / "other", trusted_keys=None, limits=limits)
    with pytest.raises(error):
        read_package_folder(tmp_path / "out", trusted_keys=None, limits=limits)


def test_a_link_in_an_unpacked_package_is_refused_though_it_leads_to_the_right_content(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder", signed_files())
    (tmp_path / "elsewhere").write_bytes(FILES["labels.txt"])
    (folder / "labels.txt").unlink()
    (folder / "labels.txt").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LinkEntryError):
        read_package_folder(folder, trusted_keys=TRUSTED)


def test_a_linked_folder_in_an_unpacked_package_is_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder", signed_files())
    (folder / "variants").rename(tmp_path / "elsewhere")
    (folder / "variants").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LinkEntryError):
        read_package_folder(folder, trusted_keys=TRUSTED)


def test_a_pipe_in_an_unpacked_package_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder", signed_files())
    (folder / "labels.txt").unlink()
    os.mkfifo(folder / "labels.txt")
    with pytest.raises(LinkEntryError):
        read_package_folder(folder, trusted_keys=TRUSTED)


def test_a_hidden_file_in_an_unpacked_package_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsafePathError):
        read_package_folder(write_folder(tmp_path, signed_files() | {".git": b""}), trusted_keys=TRUSTED)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="No such file"):
        read_package_folder(tmp_path / "none", trusted_keys=TRUSTED)
