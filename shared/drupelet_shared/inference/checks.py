"""Whether a request's tensors are the ones a model takes."""

from __future__ import annotations

from collections.abc import Sequence

from drupelet_shared.engines.base import Tensors
from drupelet_shared.errors import InputDatatypeError, InputNameError, InputShapeError
from drupelet_shared.inference.header import datatype_of
from drupelet_shared.tensors import TensorSpec, shape_matches


def check_inputs(inputs: Tensors, specs: Sequence[TensorSpec]) -> None:
    """Compare the inputs of a request with what a model takes.

    Raises:
        InputNameError: One is missing or unknown.
        InputDatatypeError: One has another datatype.
        InputShapeError: One has a shape the model does not take.
    """
    expected = {spec.name: spec for spec in specs}
    for name in inputs:
        if name not in expected:
            raise InputNameError(f"input {name!r} is unknown: the model takes {_describe(specs)}")
    for name, spec in expected.items():
        if name not in inputs:
            raise InputNameError(f"input {name!r} is missing: the model takes {_describe(specs)}")
        datatype = datatype_of(inputs[name], what=f"input {name!r}")
        if datatype != spec.datatype:
            raise InputDatatypeError(f"input {name!r} has datatype {datatype}: the model takes {spec.datatype}")
        shape = inputs[name].shape
        if not shape_matches(shape, spec.shape):
            raise InputShapeError(f"input {name!r} has shape {list(shape)}: the model takes {list(spec.shape)}")


def _describe(specs: Sequence[TensorSpec]) -> str:
    return ", ".join(f"{spec.name!r} ({spec.datatype} {list(spec.shape)})" for spec in specs)
