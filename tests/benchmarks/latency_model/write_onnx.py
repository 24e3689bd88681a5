"""Writes a network as ONNX in float32, and in static int8 as the compiler writes it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.latency_model.networks import Layer, Network
from drupelet_host.quantization.static import quantize_static
from drupelet_shared.engines.base import Array

_OPSET, _IR = 17, 8
_POOLS = {"max_pool": "MaxPool", "average_pool": "AveragePool"}
_MERGES = {"add": "Add", "multiply": "Mul"}
_PLAIN = {"sigmoid": "Sigmoid", "hardswish": "HardSwish", "relu": "Relu"}


def write_onnx(network: Network, path: Path, *, int8: bool) -> None:
    """Write the model; the node of layer `n` is `nn`, its fused activation `nn_activation`."""
    if not int8:
        onnx.save(_Writer(network).model(), path)
        return
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "float.onnx"
        onnx.save(_Writer(network).model(), source)
        sample = random.standard_normal((1, *network.shape)).astype(np.float32)
        quantize_static(source, path, calibration=[{"x": sample}])


class _Writer:
    def __init__(self, network: Network) -> None:
        self._network = network
        self._shapes = network.shapes()
        self._random = np.random.default_rng(0)
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def model(self) -> onnx.ModelProto:
        for position, layer in enumerate(self._network.layers):
            self._add(position, layer)
        last = len(self._network.layers) - 1
        kind = self._network.layers[-1].kind
        shape = [1, self._shapes[-1][0]] if kind == "linear" else [1, *self._shapes[-1]]
        graph = helper.make_graph(
            self._nodes,
            "network",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, *self._network.shape])],
            [helper.make_tensor_value_info(f"t{last}", TensorProto.FLOAT, shape)],
            self._constants,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)

    def _node(self, kind: str, inputs: list[str], output: str, name: str, **attributes: object) -> None:
        self._nodes.append(helper.make_node(kind, inputs, [output], name=name, **attributes))

    def _constant(self, name: str, values: Array) -> str:
        self._constants.append(numpy_helper.from_array(values, name))
        return name

    def _weights(self, name: str, *shape: int) -> str:
        fan = max(1, int(np.prod(shape[1:])))
        return self._constant(name, (self._random.standard_normal(shape) * np.sqrt(2 / fan)).astype(np.float32))

    def _add(self, position: int, layer: Layer) -> None:
        inputs = ["x" if source < 0 else f"t{source}" for source in layer.inputs]
        output, name = f"t{position}", f"n{position}"
        pad = layer.kernel // 2 if layer.kernel % 2 else 0
        window = {"kernel_shape": [layer.kernel] * 2, "strides": [layer.stride] * 2, "pads": [pad] * 4}
        match layer.kind:
            case "convolution":
                self._convolution(position, layer, inputs, window)
            case "linear":
                self._linear(position, layer, inputs[0])
            case "max_pool" | "average_pool":
                self._node(_POOLS[layer.kind], inputs, output, name, **window)
            case "global_pool":
                self._node("GlobalAveragePool", inputs, output, name)
            case "add" | "multiply":
                self._node(_MERGES[layer.kind], inputs, output, name)
            case "concat":
                self._node("Concat", inputs, output, name, axis=1)
            case "upsample":
                scales = np.array([1, 1, layer.stride, layer.stride], np.float32)
                given = [inputs[0], "", self._constant(f"s{position}", scales)]
                modes = {"mode": "nearest", "nearest_mode": "floor"}
                self._node("Resize", given, output, name, coordinate_transformation_mode="asymmetric", **modes)
            case _:
                self._activation(position, layer, inputs[0])

    def _convolution(self, position: int, layer: Layer, inputs: list[str], window: dict[str, list[int]]) -> None:
        incoming, _, _ = self._network.input_shape(position)
        kernel = layer.kernel
        weights = self._weights(f"w{position}", layer.channels, incoming // layer.groups, kernel, kernel)
        bias = self._constant(f"b{position}", np.zeros(layer.channels, np.float32))
        plain = layer.activation == "none"
        output = f"t{position}" if plain else f"t{position}_sum"
        self._node("Conv", [*inputs, weights, bias], output, f"n{position}", group=layer.groups, **window)
        if layer.activation == "relu":
            self._node("Relu", [output], f"t{position}", f"n{position}_activation")
        elif not plain:
            self._clip(output, position, f"n{position}_activation")

    def _clip(self, source: str, position: int, name: str) -> None:
        limits = [self._constant(f"{name}_{limit}", np.array(limit, np.float32)) for limit in (0, 6)]
        self._node("Clip", [source, *limits], f"t{position}", name)

    def _linear(self, position: int, layer: Layer, source: str) -> None:
        incoming = int(np.prod(self._network.input_shape(position)))
        weights = self._weights(f"w{position}", layer.channels, incoming)
        bias = self._constant(f"b{position}", np.zeros(layer.channels, np.float32))
        before = self._network.layers[layer.inputs[0]].kind if layer.inputs[0] >= 0 else ""
        if before != "linear":
            self._node("Flatten", [source], f"f{position}", f"n{position}_flat")
            source = f"f{position}"
        self._node("Gemm", [source, weights, bias], f"t{position}", f"n{position}", transB=1)

    def _activation(self, position: int, layer: Layer, source: str) -> None:
        name, output = f"n{position}", f"t{position}"
        if layer.activation == "silu":
            self._node("Sigmoid", [source], f"{output}_gate", f"{name}_gate")
            self._node("Mul", [source, f"{output}_gate"], output, name)
        elif layer.activation == "relu6":
            self._clip(source, position, name)
        else:
            self._node(_PLAIN[layer.activation], [source], output, name)
