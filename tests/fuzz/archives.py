"""The archive reader, and the whole package behind it: archive, manifest, digests and signature together."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from random import Random

from cryptography.hazmat.primitives.asymmetric import ec

from drupelet_shared.errors import PackageError
from drupelet_shared.package.archive import open_archive, write_archive
from drupelet_shared.package.limits import Limits
from drupelet_shared.package.reading import unpack_package
from drupelet_shared.package.signature import identify_key
from fuzz.mutations import mutate_bytes
from fuzz.target import Target
from support.package.packages import build
from support.package.zips import RawEntry, pack

LIMITS = Limits(entries=64, file_bytes=2**20, total_bytes=2**22)
_FILES = {"manifest.json": b"{}", "variants/a/model.onnx": bytes(range(256)) * 2, "labels.txt": b"", "z": b"z" * 5000}
_KEY = ec.generate_private_key(ec.SECP256R1())
_TRUSTED = (identify_key(_KEY.public_key()),)
_NAMES = (b"a", b"A", b"a/b", b"a/../b", b"/a", b"a\\b", b".a", b"C:a", b"\xff", b"a\x00b", b"x" * 256, b"")
# Memory, where there is any: writing a file is most of the work of an input.
_SCRATCH = next((path for path in (Path("/dev/shm"), Path("/tmp")) if path.is_dir()), None)


@cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="drupelet-fuzz-", dir=_SCRATCH))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _archive(files: dict[str, bytes]) -> bytes:
    path = _folder() / "seed.drupe"
    write_archive(path, files)
    return path.read_bytes()


def _package() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return build(Path(folder), signing_key=_KEY).path.read_bytes()


def check_archive(data: bytes) -> bool:
    """Every entry is read within what it declares and the files can be written again, or the archive is refused."""
    path = _folder() / "input.drupe"
    path.write_bytes(data)
    try:
        with open_archive(path, limits=LIMITS) as archive:
            assert archive.total_bytes <= LIMITS.total_bytes
            files = {name: archive.read(name, limit_bytes=LIMITS.file_bytes) for name in archive.entries}
            assert {name: len(content) for name, content in files.items()} == {
                name: entry.size_bytes for name, entry in archive.entries.items()
            }
    except PackageError:
        return False
    again = _folder() / "again.drupe"
    write_archive(again, files)
    with open_archive(again, limits=LIMITS) as archive:
        assert {name: archive.read(name, limit_bytes=LIMITS.file_bytes) for name in archive.entries} == files
    return True


def check_package(data: bytes) -> bool:
    """A package is refused and leaves nothing, or holds what was signed."""
    path, folder = _folder() / "input.drupe", _folder() / "unpacked"
    path.write_bytes(data)
    try:
        unpack_package(path, folder, trusted_keys=_TRUSTED, limits=LIMITS)
    except PackageError:
        assert not folder.exists() or not list(folder.iterdir())
        return False
    unpacked = {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    shutil.rmtree(folder)
    assert unpacked == _signed_files()
    return True


@cache
def _signed_files() -> dict[str, bytes]:
    path = _folder() / "signed.drupe"
    path.write_bytes(PACKAGE.seeds[0])
    with open_archive(path) as archive:
        return {name: archive.read(name, limit_bytes=LIMITS.file_bytes) for name in archive.entries}


def _mutate_archive(data: bytes, random: Random, others: Sequence[bytes]) -> bytes:
    """Bytes of an archive are changed, or an archive is made by hand with odd fields."""
    if random.randrange(3):
        return mutate_bytes(data, random, others=others)
    made = pack([_entry(random) for _ in range(random.randrange(1, 4))])
    return mutate_bytes(made, random) if random.randrange(2) else made


def _entry(random: Random) -> RawEntry:
    fields: dict[str, object] = {"name": random.choice((*_NAMES, random.randbytes(4).hex().encode()))}
    odd: dict[str, tuple[object, ...]] = {
        "content": (b"", b"content", bytes(100_000)),
        "flags": (0, 1, 8, 0x800, 0xFFFF),
        "method": (0, 8, 9, 14),
        "mode": (0, 0o100644, 0o120777, 0o040755, 0o100000),
        "size": (None, 0, 1, 2**20, 2**32 - 1),
        "crc": (None, 0),
        "extra": (b"", b"\x01\x00\x08\x00" + bytes(8)),
        "offset": (None, 0, 2**32 - 1),
        "local_name": (None, b"other"),
        "local_size": (None, 0),
    }
    for name in random.sample(sorted(odd), random.randrange(4)):
        fields[name] = random.choice(odd[name])
    return RawEntry(**fields)  # type: ignore[arg-type] # each field from its own list


ARCHIVE = Target(
    name="archive",
    seeds=(_archive(_FILES), _archive({"a": b"a"}), _archive({})),
    check=check_archive,
    mutate=_mutate_archive,
)
PACKAGE = Target(name="package", seeds=(_package(),), check=check_package)
