"""Reads from a LiteRT file how many constant values it holds and in which precision it computes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from drupelet_host.errors import ModelError

Precision = Literal["fp32", "wf16", "dynamic-wi8", "static-wi8-ai8"]


def count_tflite_parameters(path: Path) -> int:
    """Return how many numbers a LiteRT file carries as constants.

    Raises:
        ModelError: The file is not a LiteRT model.
    """
    return sum(math.prod(int(size) for size in shape) for _, shape, constant in _tensors(path) if constant)


def find_precision(path: Path) -> Precision:
    """Return the precision of a LiteRT file: of its activations where they are int8, else of its weights.

    Raises:
        ModelError: The file is not a LiteRT model.
    """
    kinds = {(kind, constant) for kind, _, constant in _tensors(path)}
    if ("INT8", False) in kinds:
        return "static-wi8-ai8"
    if ("INT8", True) in kinds:
        return "dynamic-wi8"
    return "wf16" if ("FLOAT16", True) in kinds else "fp32"


def _tensors(path: Path) -> Iterator[tuple[str, tuple[int, ...], bool]]:
    """Yield the type, shape and constancy of every tensor."""
    # An optional engine; only this file format needs it.
    import ai_edge_litert.schema_py_generated as schema  # noqa: PLC0415

    names = {value: name for name, value in vars(schema.TensorType).items() if isinstance(value, int)}
    try:
        model: Any = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(path.read_bytes(), 0))
        for graph in model.subgraphs:
            for tensor in graph.tensors:
                data = model.buffers[tensor.buffer].data
                shape = () if tensor.shape is None else tuple(tensor.shape)
                yield names[tensor.type], shape, data is not None and len(data) > 0
    except Exception as error:  # flatbuffers reads malformed files with whatever error they lead to
        raise ModelError(f"{path.name}: not a LiteRT model: {error}") from error
