"""Requests made to cost more than they should, to one real worker: each is refused, quickly and in little memory."""

from __future__ import annotations

import io
import json
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from PIL import Image

from drupelet_agent.serving.workers.protocol import Ready, Replied, WorkerSpec
from drupelet_agent.serving.workers.worker_process import WorkerProcess, expect
from drupelet_shared.package.reading import unpack_package
from drupelet_shared.process_memory import read_memory
from support.package.served_packages import make_package

SLOT_BYTES = 16 * 2**20
# A request may be held twice while it is read: in its slot, which is mapped, and as one copy to parse.
ALLOWED_BYTES = 2 * SLOT_BYTES + 4 * 2**20
JSON = "application/json"
BINARY = "application/octet-stream"


def json_full_of(item: bytes) -> bytes:
    """A request as large as a slot whose tensor data repeats one item."""
    head = b'{"inputs":[{"name":"image","shape":[1,1,8,8],"datatype":"FP32","data":['
    room = SLOT_BYTES - len(head) - 5
    return head + item * (room // len(item)) + b"1]}]}"


def header(**fields: object) -> bytes:
    entry = {"name": "image", "shape": [1, 1, 8, 8], "datatype": "FP32", **fields}
    return json.dumps({"inputs": [entry]}).encode()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data))


def png(width: int, height: int, *, extra: bytes = b"", data: bytes | None = None) -> bytes:
    head = struct.pack(">LLBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(1000)) if data is None else data
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def tags(count: int, *, size_bytes: int) -> bytes:
    """EXIF whose every tag claims all of its bytes."""
    entries = b"".join(struct.pack("<HHLL", 256 + tag, 1, size_bytes, 0) for tag in range(count))
    return (b"II*\0" + struct.pack("<LH", 8, count) + entries + bytes(4)).ljust(size_bytes, b"\0")


def jpeg_with(segment: bytes, marker: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "JPEG")
    plain = buffer.getvalue()
    after_jfif = 4 + struct.unpack(">H", plain[4:6])[0]
    return b"\xff\xd8\xff" + bytes([marker]) + struct.pack(">H", len(segment) + 2) + segment + plain[after_jfif:]


HOSTILE: dict[str, Callable[[], tuple[bytes, str, int | None]]] = {
    "empty arrays": lambda: (json_full_of(b"[],"), JSON, None),
    "empty objects": lambda: (json_full_of(b"{},"), JSON, None),
    "small integers": lambda: (json_full_of(b"0,"), JSON, None),
    "large integers": lambda: (json_full_of(b"12345,"), JSON, None),
    "texts": lambda: (json_full_of(b'"ab",'), JSON, None),
    "deep arrays": lambda: (json_full_of(b"["), JSON, None),
    "deep objects": lambda: (json_full_of(b'{"a":'), JSON, None),
    "many keys": lambda: (b"{" + b"".join(b'"%d":1,' % n for n in range(10**6)) + b'"z":1}', JSON, None),
    "a long number": lambda: (json_full_of(b"1"), JSON, None),
    "no values JSON knows": lambda: (header(data=[float("nan"), float("inf")] * 32), JSON, None),
    "a negative shape": lambda: (header(shape=[-1, -64], data=[1]), JSON, None),
    "a huge shape": lambda: (header(shape=[2**31 - 1] * 8, data=[1]), JSON, None),
    "a shape of NaN": lambda: (header(shape=[float("nan")], data=[1]), JSON, None),
    "more bytes than there are": lambda: (header(parameters={"binary_data_size": 10**15}), BINARY, None),
    "fewer bytes than there are": lambda: (header(parameters={"binary_data_size": 0}) + bytes(256), BINARY, 100),
    "text of four billion": lambda: (
        header(datatype="BYTES", shape=[2**30], parameters={"binary_data_size": 0}),
        BINARY,
        None,
    ),
    "a header beyond the end": lambda: (b"{}", BINARY, 10**9),
    "a picture of four billion pixels": lambda: (png(65_535, 65_535), "image/png", None),
    "a picture just too large": lambda: (png(8000, 5001), "image/png", None),
    "a picture that ends early": lambda: (png(6000, 6000), "image/png", None),
    "a text that unpacks to a gigabyte": lambda: (
        png(8, 8, extra=chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**28), 9))),
        "image/png",
        None,
    ),
    "a profile that unpacks to a gigabyte": lambda: (
        png(8, 8, extra=chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(2**28), 9))),
        "image/png",
        None,
    ),
}
# Odd and still pictures: what matters is what they cost.
CURIOUS: dict[str, Callable[[], tuple[bytes, str]]] = {
    "tags that overlap": lambda: (jpeg_with(b"Exif\0\0" + tags(5000, size_bytes=65_000), 0xE1), "image/jpeg"),
    "an index of overlapping pictures": lambda: (
        jpeg_with(b"MPF\0" + tags(5000, size_bytes=65_000), 0xE2),
        "image/jpeg",
    ),
    "tags in a PNG that overlap": lambda: (
        png(8, 8, extra=chunk(b"eXIf", tags(20_000, size_bytes=2**18)), data=zlib.compress(bytes(8 * 25))),
        "image/png",
    ),
}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("package")
    unpack_package(make_package(folder, None), folder / "unpacked", trusted_keys=None)
    return folder / "unpacked"


@contextmanager
def running_worker(package: Path) -> Iterator[WorkerProcess]:
    spec = WorkerSpec(
        package_folder=str(package), variant="ort-fp32", threads=1, memory_limit_bytes=0, slot_bytes=SLOT_BYTES
    )
    with closing(WorkerProcess(spec)) as process:
        expect(process, Ready, timeout_s=60)
        yield process


@pytest.fixture(scope="module")
def worker(package: Path) -> Iterator[WorkerProcess]:
    with running_worker(package) as process:
        # What a first picture loads stays.
        ask(process, png(8, 8, data=zlib.compress(bytes(8 * 25))), "image/png", None)
        yield process


def ask(worker: WorkerProcess, payload: bytes, content_type: str, header_length: int | None) -> tuple[Replied, bytes]:
    worker.send_request(payload, slot=0, content_type=content_type, header_length=header_length)
    # The slowest takes a tenth of a second; what costs real time fails here.
    reply = expect(worker, Replied, timeout_s=10)
    return reply, worker.payload_of(reply)


def peak_growth_bytes(worker: WorkerProcess, action: Callable[[], None]) -> int:
    """How far the worker's memory rises at the most; the peak is the kernel's own (proc(5), clear_refs)."""
    Path(f"/proc/{worker.pid}/clear_refs").write_text("5", encoding="ascii")
    before = read_memory(pid=worker.pid).resident_bytes
    action()
    return read_memory(pid=worker.pid).peak_bytes - before


@pytest.mark.skipif(os.geteuid() != 0, reason="a process that is not dumpable shows its memory to root alone")
@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_made_to_be_expensive_is_refused_cheaply(worker: WorkerProcess, name: str) -> None:
    payload, content_type, header_length = HOSTILE[name]()
    assert len(payload) <= SLOT_BYTES

    def refuse() -> None:
        reply, body = ask(worker, payload, content_type, header_length)
        assert reply.code in {"invalid_request", "invalid_image", "invalid_input_data", "invalid_input_shape"}, body
        assert json.loads(body)["code"] == reply.code
        assert reply.length < 4096

    assert peak_growth_bytes(worker, refuse) < ALLOWED_BYTES


@pytest.mark.skipif(os.geteuid() != 0, reason="a process that is not dumpable shows its memory to root alone")
@pytest.mark.parametrize("name", CURIOUS)
def test_a_picture_with_odd_tags_costs_no_more_than_its_size(worker: WorkerProcess, name: str) -> None:
    picture, content_type = CURIOUS[name]()
    assert peak_growth_bytes(worker, lambda: assert_answered(worker, picture, content_type)) < 2**24


def test_a_picture_with_thousands_of_odd_tags_writes_nothing_to_the_log(
    package: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with running_worker(package) as worker:
        for make in CURIOUS.values():
            assert_answered(worker, *make())
    assert capfd.readouterr().err == ""


def assert_answered(worker: WorkerProcess, picture: bytes, content_type: str) -> None:
    reply, _ = ask(worker, picture, content_type, None)
    assert reply.code in {"ok", "invalid_image"}


@pytest.mark.skipif(os.geteuid() != 0, reason="a process that is not dumpable shows its memory to root alone")
def test_the_largest_picture_is_held_once(worker: WorkerProcess) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (8000, 5000)).save(buffer, "PNG")

    def answer() -> None:
        assert ask(worker, buffer.getvalue(), "image/png", None)[0].code == "ok"

    # Pillow keeps four bytes a pixel of three colours.
    assert peak_growth_bytes(worker, answer) < 4 * 40_000_000 * 1.25 + 2**23
