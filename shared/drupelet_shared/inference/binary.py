"""One tensor's data as raw bytes: Triton's binary tensor extension, little-endian and row-major without padding.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from drupelet_shared.engines.base import Array
from drupelet_shared.errors import InputDataError
from drupelet_shared.inference.header import TensorHeader
from drupelet_shared.tensors import NUMPY_DTYPE, Datatype

_LENGTH = struct.Struct("<I")


def array_from_bytes(data: memoryview, header: TensorHeader) -> Array:
    """View raw bytes as an array; they are copied only where the array would not be aligned.

    Raises:
        InputDataError: There are more or fewer bytes than the shape takes, or a BOOL that is neither 0 nor 1.
    """
    if header.datatype is Datatype.BYTES:
        return _split_elements(data, header).reshape(header.shape)
    dtype = np.dtype(NUMPY_DTYPE[header.datatype])
    expected = header.count * dtype.itemsize
    if len(data) != expected:
        raise InputDataError(
            f"{header}: binary_data_size is {len(data)} bytes: {header.datatype} {list(header.shape)} takes {expected}"
        )
    if header.datatype is Datatype.BOOL and max(data, default=0) > 1:
        raise InputDataError(f"{header}: data holds the byte {max(data)}: BOOL takes 0 and 1")
    array: Array = np.frombuffer(data, dtype=dtype).reshape(header.shape)
    return np.require(array, requirements="A")


def bytes_from_array(array: Array, header: TensorHeader) -> memoryview:
    """Return the raw bytes of an array, without a copy where it already lies as the protocol wants it."""
    if header.datatype is Datatype.BYTES:
        return memoryview(b"".join(map(_with_length, array.ravel().tolist())))
    contiguous = np.ascontiguousarray(array, dtype=NUMPY_DTYPE[header.datatype])
    return contiguous.reshape(-1).view(np.uint8).data


def _with_length(element: bytes | str) -> bytes:
    data = element.encode() if isinstance(element, str) else element
    return _LENGTH.pack(len(data)) + data


def _split_elements(data: memoryview, header: TensorHeader) -> Array:
    # Each element has a length in front, so this bounds what is allocated by what was sent.
    if header.count * _LENGTH.size > len(data):
        raise InputDataError(
            f"{header}: binary_data_size is {len(data)} bytes: {header.count} elements of BYTES take "
            f"{header.count * _LENGTH.size} or more"
        )
    elements: list[Any] = []
    offset = 0
    for index in range(header.count):
        start = offset + _LENGTH.size
        end = start + _LENGTH.unpack_from(data, offset)[0] if start <= len(data) else len(data) + 1
        if end > len(data):
            raise InputDataError(f"{header}: element {index} ends beyond the {len(data)} bytes of its tensor")
        elements.append(bytes(data[start:end]))
        offset = end
    if offset != len(data):
        raise InputDataError(f"{header}: {header.count} elements end at byte {offset} of {len(data)}")
    array = np.empty(header.count, dtype=object)
    array[:] = elements
    return array
