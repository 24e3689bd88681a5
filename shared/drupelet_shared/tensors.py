"""Tensor datatypes, names and shapes as the Open Inference Protocol v2 writes them; no array library needed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

VARIABLE = -1
MAX_RANK = 8
MAX_NAME_LENGTH = 256


class Datatype(StrEnum):
    """The datatypes of the Open Inference Protocol v2 (Tensor Data Types)."""

    BOOL = "BOOL"
    UINT8 = "UINT8"
    UINT16 = "UINT16"
    UINT32 = "UINT32"
    UINT64 = "UINT64"
    INT8 = "INT8"
    INT16 = "INT16"
    INT32 = "INT32"
    INT64 = "INT64"
    FP16 = "FP16"
    FP32 = "FP32"
    FP64 = "FP64"
    BYTES = "BYTES"


# Little-endian NumPy dtype strings; BYTES has no fixed size and no entry.
NUMPY_DTYPE: dict[Datatype, str] = {
    Datatype.BOOL: "?",
    Datatype.UINT8: "|u1",
    Datatype.UINT16: "<u2",
    Datatype.UINT32: "<u4",
    Datatype.UINT64: "<u8",
    Datatype.INT8: "|i1",
    Datatype.INT16: "<i2",
    Datatype.INT32: "<i4",
    Datatype.INT64: "<i8",
    Datatype.FP16: "<f2",
    Datatype.FP32: "<f4",
    Datatype.FP64: "<f8",
}


class TensorSpec(BaseModel):
    """One input or output of a model.

    Attributes:
        name: As the model file has it.
        datatype: As the Open Inference Protocol v2 has it.
        shape: Its dimensions, -1 for a variable one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=MAX_NAME_LENGTH)]
    datatype: Datatype
    shape: Annotated[tuple[Annotated[int, Field(ge=VARIABLE)], ...], Field(max_length=MAX_RANK)]


def shape_matches(shape: Sequence[int], spec: Sequence[int]) -> bool:
    """Return whether a concrete shape has the rank of `spec` and equals it wherever `spec` is not variable."""
    return len(shape) == len(spec) and all(
        size == expected or (expected == VARIABLE and size >= 0) for size, expected in zip(shape, spec, strict=True)
    )


def count_values(specs: Sequence[TensorSpec]) -> int | None:
    """Return the total number of values of tensors; None if a dimension is variable or a tensor holds text."""
    if any(VARIABLE in spec.shape or spec.datatype is Datatype.BYTES for spec in specs):
        return None
    return sum(math.prod(spec.shape) for spec in specs)
