"""Golden vectors come from a package, so a damaged file is an error of ours, whatever NumPy or zipfile think of it."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from drupelet_shared.errors import PackageError
from drupelet_shared.package.golden import GoldenVectors, load_golden


def whole() -> bytes:
    return GoldenVectors(inputs={"x": np.ones((2, 3))}, outputs={"y": np.zeros((2, 1))}).to_bytes()


def with_entry(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO(whole())
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


def with_method(method: int) -> bytes:
    """The compression method of every entry changed, in local headers and directory."""
    data = bytearray(whole())
    for signature, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        at = data.find(signature)
        while at >= 0:
            data[at + offset] = method
            at = data.find(signature, at + 4)
    return bytes(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no archive",
        whole()[:-30],
        with_method(99),
        with_method(8),
        with_entry("input.z.npy", b""),
        with_entry("input.z.npy", b"\x93NUMPY\x01\x00"),
        with_entry("input.z.npy", b"text"),
    ],
    ids=["empty", "text", "cut off", "unknown method", "wrong method", "empty entry", "cut off entry", "text entry"],
)
def test_a_damaged_file_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "golden.npz"
    path.write_bytes(data)
    with pytest.raises(PackageError, match=r"golden vectors golden\.npz: "):
        load_golden(path)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "golden.npz"
    path.write_bytes(whole())
    golden = load_golden(path)
    assert golden.samples == 2
    assert golden.sample(1)["x"].shape == (3,)
