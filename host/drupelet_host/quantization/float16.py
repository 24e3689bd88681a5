"""Stores weights as float16; the arithmetic stays float32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from drupelet_host.errors import ExportError
from drupelet_host.onnx_files.canonical import write_canonical
from drupelet_host.onnx_files.graph import load_model, strip_unused

# A smaller tensor takes more bytes as float16, because of the Cast node that it needs.
_MIN_VALUES = 128
# The largest relative rounding error allowed for the largest weight of a tensor; float16's own is half of this.
_MAX_RELATIVE_ERROR = 2.0**-10


def store_float16(source: Path, path: Path) -> None:
    """Write a float model with float16 weights, which the engine casts to float32 when it loads the model.

    ONNX Runtime folds casts of constants when it opens a session, so inference takes as long as before. Tensors that
    float16 cannot represent (values beyond 65504, or only tiny values) stay float32. The same file gives the same
    bytes.

    Raises:
        ExportError: The file is not an ONNX model, or has no weights that float16 makes smaller.
    """
    model = load_model(source)
    _lift_constants(model.graph)
    listed = {info.name for info in (*model.graph.input, *model.graph.output)}
    stored = [tensor for tensor in model.graph.initializer if tensor.name not in listed and _fits(tensor)]
    if not stored:
        raise ExportError(
            f"{source.name}: float16 has nothing to store: the model has no float32 weight of at least {_MIN_VALUES} "
            "values that float16 can represent"
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
    """Convert an initializer to float16 under a new name; return the Cast node that restores the original name."""
    name = tensor.name
    half = numpy_helper.to_array(tensor).astype(np.float16)
    tensor.CopyFrom(numpy_helper.from_array(half, f"{name}_float16"))
    return helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT)


def _lift_constants(graph: onnx.GraphProto) -> None:
    """Turn Constant nodes into initializers: some exporters write weights as Constant nodes."""
    for node in [node for node in graph.node if node.op_type == "Constant"]:
        value = next((entry.t for entry in node.attribute if entry.name == "value"), None)
        if value is None or value.data_type != TensorProto.FLOAT:
            continue
        tensor = graph.initializer.add()
        tensor.CopyFrom(value)
        tensor.name = node.output[0]
        graph.node.remove(node)
