"""The error that each layer alone brings in int8, from one float model in which each layer's rounding is a switch.

Writing and loading an int8 model for each layer takes a second or more; with the switches one session answers for all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from drupelet_host.data.samples import Tensors
from drupelet_host.onnx_files.graph import Array, copy_model, first_output, open_session, read_constants, sort_nodes
from drupelet_host.quantization.layers import Layer
from drupelet_host.quantization.ranges import Method, Range
from drupelet_host.quantization.static import Calibrated

_SWITCHES = "drupelet_switches"
_ACTIVATION_STEPS, _WEIGHT_STEPS = 255, 127
_TINY = 1e-12


def measure_errors(calibrated: Calibrated, *, method: Method, samples: Sequence[Tensors]) -> dict[str, float]:
    """Return the difference that each layer alone in int8 makes to the outputs.

    A layer's input, weights and output are rounded as int8 rounds them; everything else is the float model's.

    Args:
        calibrated: The float model with its calibration histograms.
        method: The calibration method.
        samples: The inputs of the inferences; one for each layer and sample is run.

    Returns:
        The root mean square over all float outputs, relative to the float model's, by the layer's name.

    Raises:
        ExportError: ONNX Runtime cannot load the model with its switches.
    """
    model = _with_switches(calibrated.model, calibrated.layers, calibrated.find_ranges(method))
    session = open_session(model, name=calibrated.name)
    outputs = [output.name for output in session.get_outputs()]
    errors = np.zeros(len(calibrated.layers))
    power = 0.0
    for sample in samples:
        off = np.zeros(len(calibrated.layers), np.float32)
        expected = session.run(outputs, {**sample, _SWITCHES: off})
        power += sum(_power(values) for values in expected)
        for index in range(len(calibrated.layers)):
            switches = off.copy()
            switches[index] = 1.0
            actual = session.run(outputs, {**sample, _SWITCHES: switches})
            errors[index] += sum(_difference(a, b) for a, b in zip(actual, expected, strict=True))
    relative = np.sqrt(errors / power) if power else np.sqrt(errors)
    return {layer.name: float(error) for layer, error in zip(calibrated.layers, relative, strict=True)}


def _power(values: Array) -> float:
    if not np.issubdtype(values.dtype, np.floating):
        return 0.0
    return float(np.square(values, dtype=np.float64).sum())


def _difference(actual: Array, expected: Array) -> float:
    if not np.issubdtype(expected.dtype, np.floating) or actual.shape != expected.shape:
        return 0.0
    return float(np.square(actual - expected, dtype=np.float64).sum())


def _with_switches(model: onnx.ModelProto, layers: Sequence[Layer], ranges: Mapping[str, Range]) -> onnx.ModelProto:
    switched = copy_model(model)
    graph = switched.graph
    nodes = {first_output(node): node for node in graph.node}
    graph.input.append(helper.make_tensor_value_info(_SWITCHES, TensorProto.FLOAT, [len(layers)]))
    constants = read_constants(graph)
    for index, layer in enumerate(layers):
        writer = _SwitchWriter(graph, index)
        head = nodes[layer.name]
        for place in (0, 1):
            name = head.input[place]
            if name in constants and place == 1:
                rounded = _round_weights(numpy_helper.to_array(constants[name]), head)
                head.input[place] = writer.switch_weight(name, rounded - numpy_helper.to_array(constants[name]))
            elif name in ranges and name not in constants:
                head.input[place] = writer.switch_activation(name, ranges[name])
        last = nodes[layer.nodes[-1]]
        if last.output[0] in ranges:
            writer.switch_output(last, ranges[last.output[0]])
    sort_nodes(graph)
    return switched


@dataclass(frozen=True, slots=True)
class _SwitchWriter:
    """Adds the nodes of one layer's switch to a graph."""

    graph: onnx.GraphProto
    index: int

    def switch_weight(self, name: str, difference: Array) -> str:
        delta = self._constant("weight_difference", difference.astype(np.float32))
        return self._blend(name, delta, tag="weight")

    def switch_activation(self, name: str, limits: Range) -> str:
        return self._blend(name, self._rounding_error(name, limits, tag="input"), tag="input")

    def switch_output(self, node: onnx.NodeProto, limits: Range) -> None:
        name = node.output[0]
        node.output[0] = self._name("raw")
        error = self._rounding_error(node.output[0], limits, tag="output")
        self._blend(node.output[0], error, tag="output", result=name)

    def _rounding_error(self, name: str, limits: Range, *, tag: str) -> str:
        low, high = min(limits[0], 0.0), max(limits[1], 0.0)
        scale = max((high - low) / _ACTIVATION_STEPS, _TINY)
        steps = self._constant(f"{tag}_scale", np.array(scale, np.float32))
        zero = self._constant(f"{tag}_zero", np.array(round(-low / scale), np.uint8))
        codes, values, error = (self._name(f"{tag}_{part}") for part in ("codes", "values", "error"))
        self.graph.node.append(helper.make_node("QuantizeLinear", [name, steps, zero], [codes], codes))
        self.graph.node.append(helper.make_node("DequantizeLinear", [codes, steps, zero], [values], values))
        self.graph.node.append(helper.make_node("Sub", [values, name], [error], error))
        return error

    def _blend(self, name: str, error: str, *, tag: str, result: str | None = None) -> str:
        switch, scaled, blended = (self._name(f"{tag}_{part}") for part in ("switch", "scaled", "blended"))
        place = self._constant(f"{tag}_place", np.array(self.index, np.int64))
        self.graph.node.append(helper.make_node("Gather", [_SWITCHES, place], [switch], switch))
        self.graph.node.append(helper.make_node("Mul", [error, switch], [scaled], scaled))
        self.graph.node.append(helper.make_node("Add", [name, scaled], [result or blended], blended))
        return result or blended

    def _constant(self, tag: str, values: Array) -> str:
        name = self._name(tag)
        self.graph.initializer.append(numpy_helper.from_array(values, name))
        return name

    def _name(self, tag: str) -> str:
        return f"drupelet_{self.index}_{tag}"


def _round_weights(weights: Array, node: onnx.NodeProto) -> Array:
    """Return weights as int8 with one scale for each output channel holds them."""
    axis = _channel_axis(node, weights.ndim)
    others = tuple(place for place in range(weights.ndim) if place != axis)
    largest = np.abs(weights).max(axis=others, keepdims=True) if others else np.abs(weights)
    scale = np.maximum(largest / _WEIGHT_STEPS, _TINY)
    rounded: Array = np.clip(np.round(weights / scale), -_WEIGHT_STEPS, _WEIGHT_STEPS) * scale
    return rounded


def _channel_axis(node: onnx.NodeProto, rank: int) -> int:
    attributes = dict(_integers(node))
    if node.op_type == "Conv":
        return 0
    if node.op_type == "ConvTranspose":
        return 1
    if node.op_type == "Gemm":
        return 0 if attributes.get("transB") else 1
    return rank - 1


def _integers(node: onnx.NodeProto) -> Iterator[tuple[str, int]]:
    for attribute in node.attribute:
        yield attribute.name, attribute.i
