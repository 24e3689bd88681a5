"""The description of one tensor: name, datatype and shape, checked before its data is read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from drupelet_shared.engines.base import Array
from drupelet_shared.errors import InputDatatypeError, InputNameError, InputShapeError, RequestError
from drupelet_shared.inference.values import Parameter
from drupelet_shared.tensors import MAX_RANK, Datatype

Kind = Literal["input", "output"]

MAX_NAME_LENGTH = 256
_MAX_DIMENSION = 2**31 - 1
# MQTT carries 256 MiB at most. NumPy refuses larger shapes with an error of its own, even those of no elements at all.
_MAX_ELEMENTS = 2**31 - 1
_SHOWN_CHARACTERS = 60

# NumPy's kind and size of one element; BYTES is an array of objects or of fixed-size strings.
_DATATYPES = {
    ("b", 1): Datatype.BOOL,
    ("u", 1): Datatype.UINT8,
    ("u", 2): Datatype.UINT16,
    ("u", 4): Datatype.UINT32,
    ("u", 8): Datatype.UINT64,
    ("i", 1): Datatype.INT8,
    ("i", 2): Datatype.INT16,
    ("i", 4): Datatype.INT32,
    ("i", 8): Datatype.INT64,
    ("f", 2): Datatype.FP16,
    ("f", 4): Datatype.FP32,
    ("f", 8): Datatype.FP64,
}
_BY_NAME: Mapping[str, Datatype] = {datatype.value: datatype for datatype in Datatype}


@dataclass(frozen=True, slots=True)
class TensorHeader:
    """The description of one tensor in a request or reply.

    Attributes:
        kind: Whether it is an input or an output.
        name: Its name.
        datatype: Its datatype in the protocol.
        shape: Its dimensions.
    """

    kind: Kind
    name: str
    datatype: Datatype
    shape: tuple[int, ...]

    @property
    def count(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r}"


def datatype_of(array: Array, *, what: str) -> Datatype:
    """Return the protocol's datatype of an array.

    Raises:
        InputDatatypeError: The protocol has none for this array, for example for complex numbers.
    """
    if array.dtype.kind in "OSU":
        return Datatype.BYTES
    datatype = _DATATYPES.get((array.dtype.kind, array.dtype.itemsize))
    if datatype is None:
        raise InputDatatypeError(f"{what}: NumPy type {array.dtype} has no datatype in the protocol")
    return datatype


def parse_header(entry: object, *, kind: Kind) -> TensorHeader:
    """Check the description part of one tensor of a request or reply.

    Raises:
        RequestError: The description is malformed; the subclass states which part.
    """
    if not isinstance(entry, dict):
        raise RequestError(f"{kind} {show(entry)}: expected an object with name, datatype and shape")
    name = parse_name(entry, kind=kind)
    return TensorHeader(
        kind=kind,
        name=name,
        datatype=_parse_datatype(entry.get("datatype"), what=f"{kind} {name!r}"),
        shape=_parse_shape(entry.get("shape"), what=f"{kind} {name!r}"),
    )


def parse_name(entry: Mapping[str, Any], *, kind: Kind) -> str:
    """Return the name of a tensor.

    Raises:
        InputNameError: The name is missing, empty, too long or not text.
    """
    name = entry.get("name")
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME_LENGTH:
        raise InputNameError(f"{kind} name {show(name)}: expected 1 to {MAX_NAME_LENGTH} characters")
    return name


def parse_parameters(value: object, *, what: str) -> dict[str, Parameter]:
    """Return an optional object of parameters, whose values are text, numbers or booleans.

    Raises:
        RequestError: The value is not an object of such parameters.
    """
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise RequestError(f"{what}: parameters {show(value)}: expected an object")
    for name, item in value.items():
        if not isinstance(item, Parameter):
            raise RequestError(f"{what}: parameter {show(name)} is {show(item)}: expected text, a number or a boolean")
    return value


def show(value: object) -> str:
    """Return a value from outside, short enough for an error message."""
    # Python refuses to print integers of thousands of digits, which JSON may hold.
    if isinstance(value, int) and value.bit_length() > 64:  # noqa: PLR2004 - bits of the largest datatype
        return f"an integer of {value.bit_length()} bits"
    if isinstance(value, list | dict):
        return f"{'an array' if isinstance(value, list) else 'an object'} of {len(value)}"
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"


def _parse_datatype(value: object, *, what: str) -> Datatype:
    datatype = _BY_NAME.get(value) if isinstance(value, str) else None
    if datatype is None:
        raise InputDatatypeError(f"{what}: datatype {show(value)}: expected one of {', '.join(Datatype)}")
    return datatype


def _parse_shape(value: object, *, what: str) -> tuple[int, ...]:
    if not isinstance(value, list):
        raise InputShapeError(f"{what}: shape {show(value)}: expected an array of integers")
    if len(value) > MAX_RANK:
        raise InputShapeError(f"{what}: shape has {len(value)} dimensions: the limit is {MAX_RANK}")
    for size in value:
        if type(size) is not int or not 0 <= size <= _MAX_DIMENSION:
            raise InputShapeError(f"{what}: dimension {show(size)}: expected an integer from 0 to {_MAX_DIMENSION}")
    # A dimension of zero does not make the others harmless.
    elements = math.prod(size or 1 for size in value)
    if elements > _MAX_ELEMENTS:
        raise InputShapeError(f"{what}: shape {value} spans {elements} elements: the limit is {_MAX_ELEMENTS}")
    return tuple(value)
