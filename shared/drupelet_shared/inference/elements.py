"""One tensor's data as JSON: a flat or nested array of numbers, booleans or text."""

from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np

from drupelet_shared.engines.base import Array
from drupelet_shared.errors import InputDataError
from drupelet_shared.inference.header import TensorHeader, show
from drupelet_shared.tensors import NUMPY_DTYPE, Datatype

_FLOATS = {Datatype.FP16, Datatype.FP32, Datatype.FP64}


def array_from_elements(data: object, header: TensorHeader) -> Array:
    """Build an array from parsed JSON.

    Args:
        data: Flat in row-major order, or nested exactly as the shape.
        header: The description of the tensor.

    Raises:
        InputDataError: Wrong number, type or range of elements; JSON has no NaN and no infinity, so neither is taken.
    """
    if not isinstance(data, list):
        raise InputDataError(f"{header}: data is {show(data)}: expected an array")
    elements = _flatten(data, header)
    if len(elements) != header.count:
        shape = list(header.shape)
        raise InputDataError(f"{header}: data has {len(elements)} elements: shape {shape} takes {header.count}")
    if header.datatype is Datatype.BYTES:
        array = _texts(elements, header)
    elif header.datatype in _FLOATS:
        array = _floats(elements, header)
    elif header.datatype is Datatype.BOOL:
        array = _booleans(elements, header)
    else:
        array = _integers(elements, header)
    return array.reshape(header.shape)


def elements_from_array(array: Array, header: TensorHeader) -> list[Any]:
    """Return the elements in row-major order, as JSON can hold them.

    Raises:
        InputDataError: It holds NaN, infinity or bytes that are not UTF-8, for which only binary data has room.
    """
    if header.datatype is Datatype.BYTES:
        return [_text(element, header) for element in array.ravel().tolist()]
    if header.datatype in _FLOATS and not np.isfinite(array).all():
        raise InputDataError(f"{header} holds NaN or infinity, which JSON has no numbers for: use binary data")
    elements: list[Any] = array.ravel().tolist()
    return elements


def _flatten(data: list[Any], header: TensorHeader) -> list[Any]:
    """Take off one level of nesting for each dimension; data that is not nested comes back as it is."""
    if not data or not isinstance(data[0], list):
        return data
    level = data
    for size in header.shape[1:]:
        for row in level:
            if not isinstance(row, list) or len(row) != size:
                raise InputDataError(f"{header}: data nests {show(row)} where shape {list(header.shape)} takes {size}")
        level = list(chain.from_iterable(level))
    return level


def _check_types(elements: list[Any], header: TensorHeader, *, allowed: set[type], expected: str) -> None:
    # The set of types costs 3 ms for an image of 224 x 224; only a refusal looks at the elements one by one.
    if set(map(type, elements)) <= allowed:
        return
    index, wrong = next((i, element) for i, element in enumerate(elements) if type(element) not in allowed)
    raise InputDataError(f"{header}: data holds {show(wrong)} at element {index}: {header.datatype} takes {expected}")


def _floats(elements: list[Any], header: TensorHeader) -> Array:
    _check_types(elements, header, allowed={int, float}, expected="numbers")
    try:
        with np.errstate(over="ignore"):
            array = np.fromiter(elements, NUMPY_DTYPE[header.datatype], len(elements))
        fits = bool(np.isfinite(array).all())
    except OverflowError:  # an integer beyond FP64
        fits = False
    if not fits:
        raise InputDataError(f"{header}: data holds NaN, infinity or a number outside {header.datatype}")
    return array


def _integers(elements: list[Any], header: TensorHeader) -> Array:
    _check_types(elements, header, allowed={int}, expected="integers")
    dtype = np.dtype(NUMPY_DTYPE[header.datatype])
    limits = np.iinfo(dtype)
    for element in (min(elements, default=0), max(elements, default=0)):
        if not limits.min <= element <= limits.max:
            raise InputDataError(
                f"{header}: data holds {show(element)}: {header.datatype} takes {limits.min} to {limits.max}"
            )
    return np.fromiter(elements, dtype, len(elements))


def _booleans(elements: list[Any], header: TensorHeader) -> Array:
    _check_types(elements, header, allowed={bool, int}, expected="true and false, or 1 and 0")
    # True equals 1 and False equals 0, so one set covers both spellings.
    others = set(elements) - {0, 1}
    if others:
        raise InputDataError(f"{header}: data holds {show(others.pop())}: BOOL takes true and false, or 1 and 0")
    return np.fromiter(elements, NUMPY_DTYPE[Datatype.BOOL], len(elements))


def _texts(elements: list[Any], header: TensorHeader) -> Array:
    _check_types(elements, header, allowed={str}, expected="text")
    array = np.empty(len(elements), dtype=object)
    array[:] = [element.encode() for element in elements]
    return array


def _text(element: bytes | str, header: TensorHeader) -> str:
    if isinstance(element, str):
        return element
    try:
        return element.decode()
    except UnicodeDecodeError as error:
        raise InputDataError(f"{header} holds bytes that are not UTF-8: use binary data") from error
