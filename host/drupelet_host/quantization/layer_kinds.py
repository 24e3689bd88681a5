"""What kind of work a layer is, by which a target's gains from int8 are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx

from drupelet_host.quantization.graph import first_output, read_constants
from drupelet_host.quantization.layers import Layer
from drupelet_host.target import LayerKind


def find_kinds(model: onnx.ModelProto, layers: Sequence[Layer]) -> dict[str, LayerKind | None]:
    """The kind of each layer by its name; None where a target knows nothing of it, such as a transposed convolution."""
    nodes = {first_output(node): node for node in model.graph.node}
    constants = read_constants(model.graph)
    return {layer.name: _kind(nodes[layer.name], constants) for layer in layers}


def _kind(node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto]) -> LayerKind | None:
    if node.op_type == "Gemm":
        return "vector"
    if node.op_type == "MatMul":
        return "matrix"
    if node.op_type != "Conv" or node.input[1] not in constants:
        return None
    channels, _, *kernel = constants[node.input[1]].dims
    groups = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
    if groups > 1:
        return "depthwise" if groups == channels else "grouped"
    return "pointwise" if set(kernel) == {1} else "convolution"
