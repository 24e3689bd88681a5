"""Int8 models in which each layer has its own copy of a shared weight, for sessions on x86; no file is written so."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import onnx

from drupelet_host.onnx_files.graph import read_constants

_DEQUANTIZE = "DequantizeLinear"


def separate_weights(source: str | bytes) -> bytes:
    """Return an int8 model with a constant of its own for each layer that reads one.

    Args:
        source: The path of the model's file, or its bytes.
    """
    model = onnx.load_model_from_string(source) if isinstance(source, bytes) else onnx.load(Path(source))
    graph = model.graph
    constants = read_constants(graph)
    makers = {node.output[0]: node for node in graph.node if node.op_type == _DEQUANTIZE and node.input[0] in constants}
    seen: Counter[str] = Counter()
    for node in [node for node in graph.node if node.op_type != _DEQUANTIZE]:
        for index, name in enumerate(node.input):
            weight = makers[name].input[0] if name in makers else name
            if weight not in constants or constants[weight].data_type != onnx.TensorProto.INT8:
                continue
            seen[weight] += 1
            if seen[weight] == 1:
                continue
            suffix = f".copy{seen[weight]}"
            if name in makers:
                node.input[index] = _copy_maker(graph, makers[name], constants, suffix=suffix)
            else:
                node.input[index] = _copy_constant(graph, constants[name], suffix=suffix)
    return bytes(model.SerializeToString())


def _copy_constant(graph: onnx.GraphProto, constant: onnx.TensorProto, *, suffix: str) -> str:
    tensor = graph.initializer.add()
    tensor.CopyFrom(constant)
    tensor.name = f"{constant.name}{suffix}"
    return str(tensor.name)


def _copy_maker(
    graph: onnx.GraphProto, maker: onnx.NodeProto, constants: dict[str, onnx.TensorProto], *, suffix: str
) -> str:
    node = onnx.NodeProto()
    node.CopyFrom(maker)
    node.name, node.output[0] = f"{node.name}{suffix}", f"{node.output[0]}{suffix}"
    for index, name in enumerate(node.input):
        if name in constants:
            node.input[index] = _copy_constant(graph, constants[name], suffix=suffix)
    # Constants alone are read, so it may stand first.
    graph.node.insert(0, node)
    return str(node.output[0])
