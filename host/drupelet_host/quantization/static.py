"""Static int8: per-channel weights, and activations with ranges from calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationMethod, QDQQuantizer, QuantType
from onnxruntime.quantization.calibrate import TensorData, TensorsData

from drupelet_host.data.samples import Tensors
from drupelet_host.errors import DataError, ExportError
from drupelet_host.onnx_files.canonical import write_canonical
from drupelet_host.onnx_files.graph import (
    copy_model,
    find_float_tensors,
    first_line,
    open_session,
    quiet_tools,
    read_constants,
    strip_unused,
)
from drupelet_host.onnx_files.preparation import prepare
from drupelet_host.onnx_files.running import run_samples
from drupelet_host.quantization.bias import add_missing_biases, broadcast_biases, correct_biases, separate_biases
from drupelet_host.quantization.inner_weights import store_inner_weights
from drupelet_host.quantization.layers import LAYER_OPS, Layer, find_layers
from drupelet_host.quantization.observation import Histogram, observe
from drupelet_host.quantization.ranges import Method, Range, find_range
from drupelet_host.quantization.unlike_ranges import find_heads, find_merges, find_splits
from drupelet_host.quantization.unquantizable import find_by_trying, find_idle, find_known
from drupelet_shared.engines.onnxruntime import FLOAT_LAYERS

# Operators that ONNX Runtime's CPU kernels compute in int8, or that only move values. Normalisations have no int8
# kernel. A product of two activations, Sigmoid and Softmax have one, but float is more accurate and no slower there.
_OPS = (
    *sorted(LAYER_OPS),
    *("Add", "ArgMax", "AveragePool", "Clip", "Concat", "Flatten", "Gather", "GatherElements", "GlobalAveragePool"),
    *("LeakyRelu", "MaxPool", "Pad", "Relu", "Reshape", "Resize", "Slice", "Split", "Squeeze", "Transpose"),
    *("Unsqueeze", "Where"),
)
_MOVABLE = frozenset(_OPS) - LAYER_OPS
# Larger constants represent infinity in masks.
_MAX_CONSTANT = 1e9


@dataclass(frozen=True, slots=True)
class StaticSettings:
    """How a model is quantized to static int8.

    Attributes:
        method: How a tensor's range is computed from its histogram.
        keep_float: Layers left in float, by `Layer.name`, and single nodes, by the name of their first output.
        bias_correction: Whether the mean error of each output channel is subtracted from its bias.
    """

    method: Method = "minmax"
    keep_float: frozenset[str] = frozenset()
    bias_correction: bool = False


@dataclass(frozen=True, slots=True)
class Calibrated:
    """A float model with its calibration histograms, from which any number of int8 models can be written.

    Attributes:
        name: The file's name, for messages.
        model: The prepared graph.
        layers: The layers of the graph.
        histograms: The histogram of each tensor that can be int8, by name.
        samples: The calibration samples.
        float_nodes: The nodes that stay in float whatever the settings are, with the reason.
    """

    name: str
    model: onnx.ModelProto
    layers: tuple[Layer, ...]
    histograms: Mapping[str, Histogram]
    samples: Sequence[Tensors]
    float_nodes: Mapping[str, str] = field(default_factory=dict)
    _ranges: dict[Method, Mapping[str, Range]] = field(default_factory=dict, repr=False, compare=False)

    def find_ranges(self, method: Method) -> Mapping[str, Range]:
        """Return the int8 range of each tensor; cached, since mixed precision writes a model for each layer."""
        if method not in self._ranges:
            self._ranges[method] = {name: find_range(seen, method=method) for name, seen in self.histograms.items()}
        return self._ranges[method]


def quantize_static(
    source: Path, path: Path, *, calibration: Sequence[Tensors], settings: StaticSettings | None = None
) -> None:
    """Quantize a float model to static int8 in QDQ form; the same arguments give the same bytes.

    Inputs, outputs and variable dimensions are unchanged.

    Args:
        source: The float model.
        path: The file to write.
        calibration: Samples that represent the activations' ranges, one inference each; shapes may differ.
        settings: The quantization settings.

    Raises:
        DataError: There is no calibration sample, or one does not fit the model.
        ExportError: The model cannot be quantized, or has nothing to quantize; the message says why.
    """
    write_static(calibrate(source, calibration=calibration), path, settings=settings or StaticSettings())


def calibrate(source: Path, *, calibration: Sequence[Tensors]) -> Calibrated:
    """Prepare a float model and collect histograms over the calibration samples, once for all methods.

    Raises:
        DataError: There is no calibration sample, or one does not fit the model.
        ExportError: The file is not an ONNX model, or ONNX Runtime cannot load it.
    """
    model = prepare(source)
    broadcast_biases(model)
    separate_biases(model)
    histograms = observe(model, _find_tensors(model), samples=calibration)
    float_nodes = {
        **find_merges(model, histograms, movable=_MOVABLE),
        **find_splits(model, histograms, movable=_MOVABLE),
        **find_heads(model, calibration),
        **find_known(model),
    }
    calibrated = Calibrated(source.name, model, find_layers(model), histograms, calibration, float_nodes)
    return replace(calibrated, float_nodes={**float_nodes, **_try_nodes(calibrated)})


def _try_nodes(calibrated: Calibrated) -> dict[str, str]:
    """Return what the quantizer fails at, or what ONNX Runtime cannot load afterwards."""
    excluded = _find_excluded(calibrated, frozenset())
    names = [node.name for node in calibrated.model.graph.node if node.op_type in _OPS and node.name not in excluded]
    ranges = calibrated.find_ranges("minmax")

    def attempt(nodes: frozenset[str]) -> str | None:
        out = excluded | (set(names) - nodes)
        try:
            quantized = _quantize(calibrated.model, ranges, excluded=out, name=calibrated.name)
            del quantized.graph.value_info[:]
            # Some faults, such as a scale for another axis of shared weights, show only when it runs.
            open_session(quantized, name="the int8 model")
            list(run_samples(quantized, calibrated.samples[:1]))
        except (ExportError, DataError) as error:
            return f"quantizing it failed: {str(error).removeprefix(f'{calibrated.name}: ')}"
        return None

    return find_by_trying(names, attempt) if names else {}


def write_static(calibrated: Calibrated, path: Path, *, settings: StaticSettings) -> None:
    """Write a static int8 model from calibration histograms; see `quantize_static`.

    Raises:
        DataError: The model fails on a calibration sample during bias correction.
        ExportError: The model cannot be quantized, or has nothing to quantize; the message says why.
    """
    excluded = _find_excluded(calibrated, settings.keep_float)
    model = copy_model(calibrated.model)
    if settings.bias_correction:
        add_missing_biases(model, excluded=excluded)
    ranges = calibrated.find_ranges(settings.method)
    quantized = _quantize(model, ranges, excluded=excluded, name=calibrated.name)
    if settings.bias_correction:
        model = correct_biases(model, quantized, samples=calibrated.samples)
        quantized = _quantize(model, ranges, excluded=excluded, name=calibrated.name)
    _require_int8_layer(calibrated, quantized, excluded=excluded)
    store_inner_weights(quantized)
    strip_unused(quantized)
    if kept := sum(layer.name in excluded for layer in calibrated.layers):
        quantized.metadata_props.add(key=FLOAT_LAYERS, value=str(kept))
    # Types and shapes of intermediate tensors, which engines infer themselves.
    del quantized.graph.value_info[:]
    write_canonical(quantized, path)


def _find_tensors(model: onnx.ModelProto) -> list[str]:
    """Return the float tensors that int8 operators read or write, in graph order."""
    floats = find_float_tensors(model.graph)
    names = (name for node in model.graph.node if node.op_type in _OPS for name in (*node.input, *node.output))
    return list(dict.fromkeys(name for name in names if name in floats))


def _find_excluded(calibrated: Calibrated, keep_float: frozenset[str]) -> set[str]:
    """Return the names of the nodes that stay float: those in `keep_float`, and those with unbounded values."""
    nodes = {layer.name: set(layer.nodes) for layer in calibrated.layers}
    known = nodes.keys() | {node.name for node in calibrated.model.graph.node}
    if unknown := sorted(keep_float - known):
        raise ExportError(f"{calibrated.name}: keep_float has {', '.join(unknown)}: no such layer")
    asked = {node for name in keep_float for node in nodes.get(name, {name})}
    constants = read_constants(calibrated.model.graph)
    masks = {name for name, seen in calibrated.histograms.items() if not seen.bounded}
    masks |= {name for name, tensor in constants.items() if _is_mask(tensor)}
    masked = {node.name for node in calibrated.model.graph.node if masks.intersection((*node.input, *node.output))}
    # An addition is faster in int8 only where two branches meet. A constant is added faster in float, and precisely.
    shifts = {
        node.name
        for node in calibrated.model.graph.node
        if node.op_type == "Add" and constants.keys() & set(node.input)
    }
    idle = find_idle(calibrated.model, movable=_MOVABLE)
    return asked | masked | shifts | idle | calibrated.float_nodes.keys()


def _is_mask(tensor: onnx.TensorProto) -> bool:
    if tensor.data_type != onnx.TensorProto.FLOAT:
        return False
    values = numpy_helper.to_array(tensor)
    return bool(values.size and not np.abs(values).max() <= _MAX_CONSTANT)


def _quantize(model: onnx.ModelProto, ranges: Mapping[str, Range], *, excluded: set[str], name: str) -> onnx.ModelProto:
    tensors = {
        tensor: TensorData(lowest=np.array(low, np.float32), highest=np.array(high, np.float32))
        for tensor, (low, high) in ranges.items()
    }
    with quiet_tools():
        try:
            quantizer = QDQQuantizer(
                copy_model(model),
                True,  # noqa: FBT003 - the tool takes it by position: a scale for each channel
                False,  # noqa: FBT003 - and this: all 8 bits
                QuantType.QInt8,
                # Unsigned activations: ONNX Runtime needs as many instructions for either on a Cortex-A72 (ResNet18:
                # 14.0 M signed, 14.8 M unsigned; a narrow one 1.44 M and 1.41 M), and on x86-64, where variants are
                # compared, signed ones take two to four times as long.
                QuantType.QUInt8,
                TensorsData(CalibrationMethod.MinMax, tensors),
                [],
                sorted(excluded),
                list(_OPS),
                {},
            )
            quantizer.quantize_model()
            quantizer.model.topological_sort()
        except Exception as error:  # the quantizer's exceptions share no base class
            raise ExportError(f"{name}: static int8 quantization failed: {first_line(error)}") from error
        quantized: onnx.ModelProto = quantizer.model.model
        return quantized


def _find_dequantized(model: onnx.ModelProto) -> set[str]:
    return {output for node in model.graph.node if node.op_type == "DequantizeLinear" for output in node.output}


def _require_int8_layer(calibrated: Calibrated, quantized: onnx.ModelProto, *, excluded: set[str]) -> None:
    made = _find_dequantized(quantized) - _find_dequantized(calibrated.model)
    if any(made.intersection(node.input) for node in quantized.graph.node if node.op_type in LAYER_OPS):
        return
    if calibrated.layers and all(layer.name in excluded for layer in calibrated.layers):
        known = dict.fromkeys(calibrated.float_nodes.get(layer.name, "") for layer in calibrated.layers)
        reasons = "; ".join(reason for reason in known if reason)
        reason = f"every layer is kept in float{': ' if reasons else ''}{reasons}"
    else:
        present = ", ".join(sorted({node.op_type for node in calibrated.model.graph.node}))
        reason = f"found {present}: expected one of {', '.join(sorted(LAYER_OPS))}; dynamic int8 takes LSTM and GRU"
    raise ExportError(f"{calibrated.name}: static int8 has nothing to quantize: {reason}")
