from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from drupelet_shared.errors import DuplicateEntryError, PackageError, SignatureInvalidError, SignatureUntrustedError
from drupelet_shared.package.archive import open_archive, write_archive
from drupelet_shared.package.paths import check_distinct
from drupelet_shared.package.reading import unpack_package
from drupelet_shared.package.signature import identify_key, sign_digests, verify_digests
from support.package.packages import FILES, build

KEY = ec.generate_private_key(ec.SECP256R1())
TRUSTED = (identify_key(KEY.public_key()),)

segments = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,8}", fullmatch=True)
paths = st.lists(segments, min_size=1, max_size=4).map("/".join)
contents = st.binary(max_size=2000) | st.integers(0, 300_000).map(bytes)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return build(tmp_path_factory.mktemp("package"), signing_key=KEY).path.read_bytes()


def is_writable(names: list[str]) -> bool:
    try:
        check_distinct(names)
    except DuplicateEntryError:
        return False
    return True


@pytest.mark.slow
@settings(deadline=None, max_examples=50)
@given(st.dictionaries(paths, contents, max_size=8).filter(lambda files: is_writable(list(files))))
def test_what_is_written_is_what_is_extracted(files: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as root:
        archive, folder = Path(root) / "x.drupe", Path(root) / "out"
        folder.mkdir()
        write_archive(archive, files)
        with open_archive(archive) as opened:
            digests = {path: hashlib.sha256(content).hexdigest() for path, content in files.items()}
            opened.extract(folder, digests=digests)
        extracted = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        assert extracted == files


def unpack_mutated(data: bytes) -> None:
    """Either a refusal that leaves nothing behind, or the package as it was signed."""
    with tempfile.TemporaryDirectory() as root:
        archive, folder = Path(root) / "x.drupe", Path(root) / "a" / "b" / "out"
        archive.write_bytes(data)
        try:
            unpack_package(archive, folder, trusted_keys=TRUSTED)
        except PackageError:
            assert not folder.exists() or not list(folder.iterdir())
        else:
            assert {path: (folder / path).read_bytes() for path in FILES} == FILES
        outside = [path for path in Path(root).rglob("*") if path.is_file() and not path.is_relative_to(folder)]
        assert outside == [archive]


@pytest.mark.slow
@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_changed_bytes_never_verify_with_changed_content(package: bytes, data: st.DataObject) -> None:
    mutated = bytearray(package)
    # Most bytes are compressed data; the headers, where the tricks are, lie at the end.
    near_end = st.integers(max(0, len(package) - 700), len(package) - 1)
    for index in data.draw(st.lists(st.integers(0, len(package) - 1) | near_end, min_size=1, max_size=4)):
        mutated[index] = data.draw(st.integers(0, 255))
    unpack_mutated(bytes(mutated))


@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_pieces_cut_out_or_put_in_never_verify_with_changed_content(package: bytes, data: st.DataObject) -> None:
    start, stop = sorted(data.draw(st.tuples(*[st.integers(0, len(package))] * 2)))
    unpack_mutated(package[:start] + data.draw(st.binary(max_size=64)) + package[stop:])


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=500) | st.text(max_size=100).map(str.encode))
def test_any_bytes_as_a_signature_are_refused(signature: bytes) -> None:
    with pytest.raises((SignatureInvalidError, SignatureUntrustedError)):
        verify_digests(signature, {"a": "0" * 64}, TRUSTED)


@settings(deadline=None, max_examples=200)
@given(data=st.data())
def test_a_signature_with_changed_bytes_never_verifies_other_files(data: st.DataObject) -> None:
    digests = {"a": "0" * 64, "b": "1" * 64}
    mutated = bytearray(sign_digests("x", digests, KEY))
    mutated[data.draw(st.integers(0, len(mutated) - 1))] = data.draw(st.integers(0, 255))
    with pytest.raises((SignatureInvalidError, SignatureUntrustedError)):
        verify_digests(bytes(mutated), {**digests, "a": "2" * 64}, TRUSTED)
