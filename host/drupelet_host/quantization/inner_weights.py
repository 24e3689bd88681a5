"""Weights that the bodies of If, Loop and Scan read, as int8: ONNX Runtime's quantizers do not look there."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import helper, numpy_helper

from drupelet_host.onnx_files.graph import Array, read_constants, rename_tensors, subgraphs, walk_nodes

# By operator, the inputs that are weights and the axis of their output channels.
_WEIGHTS: Mapping[str, Mapping[int, int]] = {
    "MatMul": {1: -1},
    "Gemm": {1: -1},
    "Conv": {1: 0},
    "ConvTranspose": {1: 1},
    "Gather": {0: 0},
    **{name: {1: 1, 2: 1} for name in ("LSTM", "GRU", "RNN")},
}
# Smaller ones cost more as int8, with their scales.
_MIN_VALUES = 128
_TOP_LEVEL = 127


def store_inner_weights(model: onnx.ModelProto) -> None:
    """Store the weights of inner graphs as int8 in the outer graph, in place; an inference converts each once.

    The arithmetic stays float32. After `prepare`, all constants lie in the outer graph.
    """
    constants = read_constants(model.graph)
    outer = {name for node in model.graph.node for name in node.input}
    for name, axis in _find_weights(model, constants).items():
        if name in outer or np.prod(constants[name].dims) < _MIN_VALUES:
            continue
        values = numpy_helper.to_array(constants[name])
        model.graph.initializer.remove(constants[name])
        rename_tensors(model.graph, {name: f"{name}_dequantized"})
        add_dequantized(model.graph, name, values, axis=axis)


def add_dequantized(graph: onnx.GraphProto, name: str, weights: Array, *, axis: int) -> None:
    """Add a weight as int8 with a scale for each channel, and the node that gives it back as `NAME_dequantized`.

    Args:
        graph: The graph.
        name: The name of the weight.
        weights: Its values.
        axis: The axis of the channels.
    """
    rest = tuple(other for other in range(weights.ndim) if other != axis)
    peak = np.abs(weights).max(axis=rest)
    scale = np.where(peak > 0, peak / _TOP_LEVEL, 1.0).astype(np.float32)
    levels = np.round(weights / np.expand_dims(scale, rest)).astype(np.int8)
    graph.initializer.append(numpy_helper.from_array(levels, f"{name}_quantized"))
    graph.initializer.append(numpy_helper.from_array(scale, f"{name}_scale"))
    # Optional, but ONNX Runtime's transformer for exact int8 on x86 adds a scalar one where it is absent.
    graph.initializer.append(numpy_helper.from_array(np.zeros(scale.shape, np.int8), f"{name}_zero_point"))
    node = helper.make_node(
        "DequantizeLinear",
        [f"{name}_quantized", f"{name}_scale", f"{name}_zero_point"],
        [f"{name}_dequantized"],
        axis=axis,
    )
    graph.node.insert(0, node)


def _find_weights(model: onnx.ModelProto, constants: Mapping[str, onnx.TensorProto]) -> dict[str, int]:
    """Return the float weights that inner graphs read, with the axis of their channels.

    A weight that is reshaped before a layer reads it, as exporters of recurrent layers do, has its channels first.
    """
    axes: dict[str, int] = {}
    for graph in [inner for node in walk_nodes(model.graph.node) for inner in subgraphs(node)]:
        for node in graph.node:
            for index, name in enumerate(node.input):
                tensor = constants.get(name)
                if tensor is not None and tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) > 1:
                    axes[name] = _WEIGHTS.get(node.op_type, {}).get(index, 0) % len(tensor.dims)
    return axes
