"""Reads the layers of an ONNX graph for the latency table."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx

from drupelet_host.errors import ModelError
from drupelet_host.latency.modelled.layers import LayerKind, LayerShape

Shape = tuple[int, ...]

_KINDS: dict[str, LayerKind] = {
    "Conv": "convolution",
    "ConvInteger": "convolution",
    "ConvTranspose": "convolution",
    "Gemm": "linear",
    "MatMul": "linear",
    "MatMulInteger": "linear",
    "MaxPool": "max_pool",
    "AveragePool": "average_pool",
    "GlobalAveragePool": "global_pool",
    "ReduceMean": "global_pool",
    "Add": "add",
    "Sub": "add",
    "Mul": "multiply",
    "Div": "multiply",
    "Concat": "concat",
    "Resize": "upsample",
    "Upsample": "upsample",
    "Sigmoid": "sigmoid",
    "HardSwish": "hardswish",
    "HardSigmoid": "sigmoid",
}
# What engines compute with the layer before it, or only rename.
_FREE = {
    "Cast",
    "Clip",
    "Constant",
    "DequantizeLinear",
    "Dropout",
    "DynamicQuantizeLinear",
    "Flatten",
    "Identity",
    "LeakyRelu",
    "QuantizeLinear",
    "Relu",
    "Reshape",
    "Shape",
    "Squeeze",
    "Unsqueeze",
}
_GATED: dict[str, LayerKind] = {"Sigmoid": "silu", "HardSigmoid": "hardswish"}
_FLOATS = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16}
_SPATIAL = 3


def read_onnx_layers(path: Path) -> tuple[LayerShape, ...]:
    """Return the layers of a file in order of execution; variable dimensions count as 1.

    Raises:
        ModelError: The file is not an ONNX model, or its shapes cannot be inferred.
    """
    try:
        model = onnx.load(path)
        for value in model.graph.input:
            for dimension in value.type.tensor_type.shape.dim:
                if not dimension.dim_value:
                    dimension.dim_value = 1
        del model.graph.value_info[:]
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception as error:  # protobuf's and onnx's exceptions share no base class
        raise ModelError(f"{path.name}: not an ONNX model whose shapes can be inferred: {error}") from error
    return _Reader(inferred.graph).layers()


class _Reader:
    """Walks a graph's nodes; quantization and renaming nodes are looked through."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._graph = graph
        self._constants = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
        self._shapes: dict[str, Shape] = dict(self._constants)
        self._floats: set[str] = set()
        for value in (*graph.input, *graph.value_info, *graph.output):
            tensor = value.type.tensor_type
            self._shapes[value.name] = tuple(max(1, dimension.dim_value) for dimension in tensor.shape.dim)
            if tensor.elem_type in _FLOATS:
                self._floats.add(value.name)
        self._makers: dict[str, onnx.NodeProto] = {output: node for node in graph.node for output in node.output}

    def layers(self) -> tuple[LayerShape, ...]:
        gates = self._find_gates()
        layers = (self._layer(node, gates) for node in self._graph.node if node.op_type not in _FREE)
        return tuple(layer for layer in layers if layer is not None)

    def _find_gates(self) -> dict[str, LayerKind | None]:
        """The kind of each product of a value with its own gate by the product's output, and None for the gate."""
        gates: dict[str, LayerKind | None] = {}
        for node in self._graph.node:
            if node.op_type != "Mul":
                continue
            for gate, value in (tuple(node.input), tuple(reversed(node.input))):
                maker = self._maker(gate)
                if (
                    maker is not None
                    and maker.op_type in _GATED
                    and self._source(maker.input[0]) == self._source(value)
                ):
                    gates[node.output[0]] = _GATED[maker.op_type]
                    gates[maker.output[0]] = None
        return gates

    def _source(self, name: str) -> str:
        """The tensor that quantization nodes pass on as this one."""
        maker = self._makers.get(name)
        while maker is not None and maker.op_type in {"DequantizeLinear", "QuantizeLinear", "Identity"}:
            name = maker.input[0]
            maker = self._makers.get(name)
        return name

    def _maker(self, name: str) -> onnx.NodeProto | None:
        return self._makers.get(self._source(name))

    def _layer(self, node: onnx.NodeProto, gates: Mapping[str, LayerKind | None]) -> LayerShape | None:
        output = node.output[0]
        kind = gates.get(output, _KINDS.get(node.op_type, "other"))
        shape = self._shapes.get(output)
        if kind is None or shape is None or not node.input:
            return None
        if kind == "convolution":
            return self._convolution(node, shape)
        if kind == "linear":
            return self._linear(node, shape)
        if output not in self._floats and node.op_type not in _KINDS:
            return None
        return self._elementwise(node, kind, shape)

    def _convolution(self, node: onnx.NodeProto, shape: Shape) -> LayerShape:
        attributes = _attributes(node)
        incoming = self._shapes[node.input[0]]
        weights = self._shapes[self._source(node.input[1])]
        strides = attributes.get("strides") or [1]
        # A transposed convolution does the work of one from its output to its input.
        backwards = node.op_type == "ConvTranspose"
        return LayerShape(
            kind="convolution",
            in_channels=incoming[1],
            out_channels=shape[1],
            in_pixels=math.prod(incoming[2:]),
            out_pixels=math.prod((incoming if backwards else shape)[2:]),
            window=math.prod(weights[2:]),
            stride=max(strides),
            groups=attributes.get("group", 1),
            name=node.name or node.output[0],
        )

    def _linear(self, node: onnx.NodeProto, shape: Shape) -> LayerShape:
        incoming = self._shapes.get(node.input[0], (1,))
        width = incoming[0] if node.op_type == "Gemm" and _attributes(node).get("transA") else incoming[-1]
        rows = max(1, math.prod(shape[:-1]))
        return LayerShape(
            kind="linear",
            in_channels=width,
            out_channels=shape[-1] if shape else 1,
            in_pixels=rows,
            out_pixels=rows,
            name=node.name or node.output[0],
        )

    def _elementwise(self, node: onnx.NodeProto, kind: LayerKind, shape: Shape) -> LayerShape:
        incoming = [self._shapes[name] for name in node.input if name in self._shapes and name not in self._constants]
        first = incoming[0] if incoming else shape
        channels, pixels = _channels_and_pixels(first)
        if kind == "concat":
            channels = sum(_channels_and_pixels(one)[0] for one in incoming) or channels
        out_channels, out_pixels = _channels_and_pixels(shape)
        window = pixels if kind == "global_pool" else math.prod(_attributes(node).get("kernel_shape") or [1])
        makers = [self._maker(name) for name in node.input]
        return LayerShape(
            kind=kind,
            in_channels=channels,
            out_channels=out_channels,
            in_pixels=pixels,
            out_pixels=out_pixels,
            window=window,
            stride=max(_attributes(node).get("strides") or [1]),
            follows_convolution=any(maker is not None and maker.op_type == "Conv" for maker in makers),
            name=node.name or node.output[0],
        )


def _channels_and_pixels(shape: Shape) -> tuple[int, int]:
    if len(shape) >= _SPATIAL:
        return shape[1], math.prod(shape[2:])
    return (shape[-1] if shape else 1), 1


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
