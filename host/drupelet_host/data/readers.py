"""Reads files of arrays: NPZ, and the IDX format of MNIST."""

from __future__ import annotations

import gzip
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from drupelet_host.errors import DataError

_GZIP_MAGIC = b"\x1f\x8b"
# IDX: two zero bytes, a type code, the number of dimensions, each dimension as a big-endian uint32, then the values.
_IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_IDX_HEADER_BYTES = 4
_PIXEL_MAX = 255.0
_GRAY_RANK = 3

Array = npt.NDArray[Any]


def read_npz(path: Path) -> tuple[Array, Array | None]:
    """Return the arrays `inputs` and, if present, `labels`.

    Raises:
        DataError: The file is not an NPZ file with these arrays.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            if "inputs" not in archive.files:
                raise DataError(f"{path.name}: has arrays {archive.files}: expected 'inputs' and 'labels'")
            return archive["inputs"], archive["labels"] if "labels" in archive.files else None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path.name}: not an NPZ file of plain arrays: {error}") from error


def read_named_npz(path: Path) -> tuple[dict[str, Array], Array | None]:
    """Return the arrays of several inputs by name, and the array `labels` if there is one.

    Raises:
        DataError: The file is not an NPZ file of plain arrays.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path.name}: not an NPZ file of plain arrays: {error}") from error
    labels = arrays.pop("labels", None)
    return arrays, labels


def read_idx_pair(images: Path, labels: Path) -> tuple[Array, Array]:
    """Return images as float32 from 0 to 1 with a channel dimension, and their labels.

    Raises:
        DataError: One of the files is not in the IDX format.
    """
    pixels = read_idx(images)
    if pixels.dtype == np.uint8:
        pixels = pixels.astype(np.float32) / _PIXEL_MAX
    return (pixels[:, None] if pixels.ndim == _GRAY_RANK else pixels), read_idx(labels)


def read_idx(path: Path) -> Array:
    """Return the array of an IDX file, gzipped or not.

    Raises:
        DataError: The file is not in the IDX format, or its length differs from that in its header.
    """
    try:
        data = path.read_bytes()
        data = gzip.decompress(data) if data.startswith(_GZIP_MAGIC) else data
    except (OSError, EOFError) as error:
        raise DataError(f"{path.name}: {error}") from error
    if len(data) < _IDX_HEADER_BYTES or data[:2] != b"\0\0" or data[2] not in _IDX_TYPES:
        raise DataError(f"{path.name}: starts with {data[:4].hex()}: expected an IDX header")
    rank = data[3]
    start = _IDX_HEADER_BYTES + 4 * rank
    if len(data) < start:
        raise DataError(f"{path.name}: has {len(data)} bytes: its header alone needs {start}")
    shape = struct.unpack(f">{rank}I", data[_IDX_HEADER_BYTES:start])
    dtype = np.dtype(_IDX_TYPES[data[2]])
    expected = start + int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if len(data) != expected:
        raise DataError(f"{path.name}: has {len(data)} bytes: its header promises {expected}")
    values = np.frombuffer(data, dtype=dtype, offset=start).reshape(shape)
    return values.astype(dtype.newbyteorder("="))
