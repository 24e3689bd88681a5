"""Writes a network as a LiteRT file, in float32 or in static int8 with a scale for each channel."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import ai_edge_litert.schema_py_generated as schema
import flatbuffers
import numpy as np

from benchmarks.latency_model.networks import Activation, Layer, Network, Shape
from drupelet_shared.engines.base import Array

_SCALE = 0.05
# As the format fixes it for a sigmoid in int8.
_SIGMOID_SCALE, _SIGMOID_ZERO_POINT = 1 / 256, -128
_FUSED = {"none": 0, "relu": 1, "relu6": 3}
_MERGES = {"add": ("ADD", "AddOptions"), "multiply": ("MUL", "MulOptions")}
_POOLS = {"max_pool": "MAX_POOL_2D", "average_pool": "AVERAGE_POOL_2D"}
_VERSIONS = {"HARD_SWISH": 1, "CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 4}
_ACTIVATIONS: dict[Activation, str] = {"hardswish": "HARD_SWISH", "relu": "RELU", "relu6": "RELU6"}


def write_tflite(network: Network, path: Path, *, int8: bool) -> None:
    """Write the model; inputs and outputs are float, channels last."""
    path.write_bytes(_Writer(network, int8=int8).build())


class _Writer:
    def __init__(self, network: Network, *, int8: bool) -> None:
        self._network, self._int8 = network, int8
        self._shapes = network.shapes()
        self._tensors: list[Any] = []
        self._buffers = [schema.BufferT()]
        self._codes: list[str] = []
        self._operators: list[Any] = []
        self._outputs: dict[int, int] = {}

    def build(self) -> bytes:
        given = self._tensor("x", _channels_last(self._network.shape), "FLOAT32")
        self._outputs[-1] = given
        if self._int8:
            self._outputs[-1] = self._value("x_int8", self._network.shape)
            self._operator("QUANTIZE", [given], self._outputs[-1])
        for position, layer in enumerate(self._network.layers):
            self._outputs[position] = self._add(position, layer)
        last = self._outputs[len(self._network.layers) - 1]
        if self._int8:
            answer = self._tensor("y", [int(size) for size in self._tensors[last].shape], "FLOAT32")
            self._operator("DEQUANTIZE", [last], answer)
            last = answer
        return self._pack([given], [last])

    def _pack(self, inputs: list[int], outputs: list[int]) -> bytes:
        graph = schema.SubGraphT()
        graph.tensors, graph.operators, graph.inputs, graph.outputs = self._tensors, self._operators, inputs, outputs
        model = schema.ModelT()
        model.version, model.subgraphs, model.buffers = 3, [graph], self._buffers
        model.operatorCodes = [_code(name) for name in self._codes]
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _tensor(
        self,
        name: str,
        shape: list[int],
        kind: str,
        *,
        values: Array | None = None,
        scales: list[float] | None = None,
        zero_point: int = 0,
        axis: int = 0,
    ) -> int:
        made = schema.TensorT()
        made.name, made.shape, made.type = name.encode(), shape, getattr(schema.TensorType, kind)
        if values is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(values.tobytes(), np.uint8)
            self._buffers.append(buffer)
            made.buffer = len(self._buffers) - 1
        if scales:
            made.quantization = schema.QuantizationParametersT()
            made.quantization.scale, made.quantization.zeroPoint = scales, [zero_point] * len(scales)
            made.quantization.quantizedDimension = axis
        self._tensors.append(made)
        return len(self._tensors) - 1

    def _value(self, name: str, shape: Shape, *, flat: bool = False, sigmoid: bool = False) -> int:
        sizes = [1, shape[0]] if flat else _channels_last(shape)
        if not self._int8:
            return self._tensor(name, sizes, "FLOAT32")
        scale, zero_point = (_SIGMOID_SCALE, _SIGMOID_ZERO_POINT) if sigmoid else (_SCALE, 0)
        return self._tensor(name, sizes, "INT8", scales=[scale], zero_point=zero_point)

    def _weights(self, name: str, shape: list[int], *, channels: int, axis: int) -> list[int]:
        if not self._int8:
            fan = math.prod(shape) // channels
            values = np.full(shape, 1 / fan, np.float32)
            bias = self._tensor(f"{name}_bias", [channels], "FLOAT32", values=np.zeros(channels, np.float32))
            return [self._tensor(name, shape, "FLOAT32", values=values), bias]
        scales, zeros = [0.01] * channels, np.zeros(channels, np.int32)
        weights = self._tensor(name, shape, "INT8", values=np.ones(shape, np.int8), scales=scales, axis=axis)
        sums = [scale * _SCALE for scale in scales]
        return [weights, self._tensor(f"{name}_bias", [channels], "INT32", values=zeros, scales=sums)]

    def _operator(self, name: str, inputs: list[int], output: int, options: tuple[str, Any] | None = None) -> None:
        if name not in self._codes:
            self._codes.append(name)
        made = schema.OperatorT()
        made.opcodeIndex, made.inputs, made.outputs = self._codes.index(name), inputs, [output]
        if options:
            made.builtinOptionsType, made.builtinOptions = getattr(schema.BuiltinOptions, options[0]), options[1]
        self._operators.append(made)

    def _add(self, position: int, layer: Layer) -> int:
        inputs = [self._outputs[source] for source in layer.inputs]
        if layer.kind == "activation":
            return self._activation(position, layer, inputs[0])
        output = self._value(f"t{position}", self._shapes[position], flat=layer.kind == "linear")
        match layer.kind:
            case "convolution":
                self._convolution(position, layer, inputs[0], output)
            case "linear":
                self._linear(position, layer, inputs[0], output)
            case "max_pool" | "average_pool":
                options = _options("Pool2DOptions", **_strides(layer))
                options[1].filterHeight = options[1].filterWidth = layer.kernel
                self._operator(_POOLS[layer.kind], inputs, output, options)
            case "global_pool":
                axes = self._tensor(f"axes{position}", [2], "INT32", values=np.array([1, 2], np.int32))
                self._operator("MEAN", [*inputs, axes], output, _options("ReducerOptions", keepDims=True))
            case "add" | "multiply":
                name, options_name = _MERGES[layer.kind]
                self._operator(name, inputs, output, _options(options_name, fusedActivationFunction=0))
            case "concat":
                self._operator("CONCATENATION", inputs, output, _options("ConcatenationOptions", axis=3))
            case _:
                size = np.array(self._shapes[position][1:], np.int32)
                sizes = self._tensor(f"size{position}", [2], "INT32", values=size)
                name = "ResizeNearestNeighborOptions"
                self._operator("RESIZE_NEAREST_NEIGHBOR", [*inputs, sizes], output, _options(name))
        return output

    def _convolution(self, position: int, layer: Layer, source: int, output: int) -> None:
        incoming, _, _ = self._network.input_shape(position)
        kernel, channels = layer.kernel, layer.channels
        depthwise = layer.groups == incoming == channels
        shape = [1, kernel, kernel, channels] if depthwise else [channels, kernel, kernel, incoming // layer.groups]
        inputs = [source, *self._weights(f"w{position}", shape, channels=channels, axis=3 if depthwise else 0)]
        name = "DepthwiseConv2DOptions" if depthwise else "Conv2DOptions"
        options = _options(name, fusedActivationFunction=_FUSED[layer.activation], **_strides(layer))
        options[1].dilationHFactor = options[1].dilationWFactor = 1
        if depthwise:
            options[1].depthMultiplier = 1
        self._operator("DEPTHWISE_CONV_2D" if depthwise else "CONV_2D", inputs, output, options)

    def _linear(self, position: int, layer: Layer, source: int, output: int) -> None:
        incoming = math.prod(self._network.input_shape(position))
        weights = self._weights(f"w{position}", [layer.channels, incoming], channels=layer.channels, axis=0)
        self._operator("FULLY_CONNECTED", [source, *weights], output, _options("FullyConnectedOptions"))

    def _activation(self, position: int, layer: Layer, source: int) -> int:
        shape, name = self._shapes[position], f"t{position}"
        if layer.activation in _ACTIVATIONS:
            output = self._value(name, shape)
            self._operator(_ACTIVATIONS[layer.activation], [source], output)
            return output
        gate = self._value(f"{name}_gate", shape, sigmoid=True)
        self._operator("LOGISTIC", [source], gate)
        if layer.activation == "sigmoid":
            return gate
        output = self._value(name, shape)
        self._operator("MUL", [source, gate], output, _options("MulOptions", fusedActivationFunction=0))
        return output


def _channels_last(shape: Shape) -> list[int]:
    channels, height, width = shape
    return [1, height, width, channels]


def _strides(layer: Layer) -> dict[str, int]:
    padding = schema.Padding.SAME if layer.kernel % 2 else schema.Padding.VALID
    return {"strideH": layer.stride, "strideW": layer.stride, "padding": padding}


def _options(name: str, **values: object) -> tuple[str, Any]:
    options = getattr(schema, f"{name}T")()
    for key, value in values.items():
        setattr(options, key, value)
    return name, options


def _code(name: str) -> Any:  # noqa: ANN401 - the schema has no types
    made = schema.OperatorCodeT()
    made.builtinCode = getattr(schema.BuiltinOperator, name)
    made.deprecatedBuiltinCode = min(made.builtinCode, 127)
    made.version = _VERSIONS.get(name, 2)
    return made
