"""Weights stored as float16; the arithmetic stays float32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from drupelet_host.errors import ExportError
from drupelet_host.onnx_files.canonical import write_canonical
from drupelet_host.onnx_files.graph import load_model, strip_unused

# Below this a tensor costs more as float16, since its Cast is written down too.
_MIN_VALUES = 128
# Half of float16's smallest step, relative: what rounding may cost the largest weight of a tensor, with room.
_MAX_RELATIVE_ERROR = 2.0**-10


def store_float16(source: Path, path: Path) -> None:
    """Write a float model with its weights as float16, each cast to float32 as the engine loads it.

    ONNX Runtime folds casts of constants when it opens a session, so an inference costs what it did. Tensors that
    float16 cannot hold (values beyond 65504, or all of them tiny) stay float32. The same file gives the same bytes.

    Raises:
        ExportError: The file is no model, or has no weights that float16 makes smaller.
    """
    model = load_model(source)
    _lift_constants(model.graph)
    listed = {info.name for info in (*model.graph.input, *model.graph.output)}
    stored = [tensor for tensor in model.graph.initializer if tensor.name not in listed and _fits(tensor)]
    if not stored:
        raise ExportError(
            f"{source.name}: float16 has nothing to store: no float32 weight of {_MIN_VALUES} values or more that "
            "float16 can hold"
        )
    casts = [_store(tensor) for tensor in stored]
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    strip_unused(model)
    write_canonical(model, path)


def _fits(tensor: onnx.TensorProto) -> bool:
    if tensor.data_type != TensorProto.FLOAT:
        return False
    values = numpy_helper.to_array(tensor)
    if values.size < _MIN_VALUES:
        return False
    with np.errstate(over="ignore"):
        stored = values.astype(np.float16).astype(np.float32)
    largest = np.abs(values).max()
    return bool(np.isfinite(stored).all() and np.abs(stored - values).max() <= _MAX_RELATIVE_ERROR * largest)


def _store(tensor: onnx.TensorProto) -> onnx.NodeProto:
    """Turn an initializer into float16 under another name; returns the node that gives it back under its own."""
    name = tensor.name
    half = numpy_helper.to_array(tensor).astype(np.float16)
    tensor.CopyFrom(numpy_helper.from_array(half, f"{name}_float16"))
    return helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT)


def _lift_constants(graph: onnx.GraphProto) -> None:
    """Some exporters write weights as Constant nodes."""
    for node in [node for node in graph.node if node.op_type == "Constant"]:
        value = next((entry.t for entry in node.attribute if entry.name == "value"), None)
        if value is None or value.data_type != TensorProto.FLOAT:
            continue
        tensor = graph.initializer.add()
        tensor.CopyFrom(value)
        tensor.name = node.output[0]
        graph.node.remove(node)
