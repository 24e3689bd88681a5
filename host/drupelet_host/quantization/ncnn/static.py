"""Static int8 for ncnn: weights with a scale for each channel, activations with one scale for each layer's input.

ncnn quantizes symmetrically: a value is `level / scale`, levels run from -127 to 127. Sources: ncnn's documentation,
"quantized int8 inference", and the layers' `load_model`: an int8 layer has parameter 8 (`int8_scale_term`). Behind its
weights and bias come the scales of the weights, of its input and, with 100 added to the parameter, of its output, which
then stays int8 for the next layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from drupelet_host.errors import DataError, ExportError
from drupelet_host.ncnn_files.graph import NcnnGraph, NcnnLayer, parse_graph
from drupelet_host.ncnn_files.running import run_tensors
from drupelet_host.ncnn_files.weights import FloatArray, Weights, blocks_of, encode_floats, encode_int8, read_weights
from drupelet_host.ncnn_files.writing import write_pair
from drupelet_host.quantization.observation import Histogram
from drupelet_host.quantization.ranges import Method, find_range
from drupelet_shared.engines.base import Tensors
from drupelet_shared.engines.files import WEIGHTS_SUFFIX
from drupelet_shared.engines.ncnn_signature import NcnnSignature

_TOP_LEVEL = 127
_INT8_TERM = 8
_CONVOLUTION, _DEPTHWISE, _PRODUCT = "Convolution", "ConvolutionDepthWise", "InnerProduct"
_OUTPUTS_OF, _GROUPS = 0, 7
# Weight scales: one for each group of a depthwise layer, one for each output of others.
_TERMS = {_CONVOLUTION: 2, _DEPTHWISE: 1, _PRODUCT: 2}
_HAS_BIAS = {_CONVOLUTION: 5, _DEPTHWISE: 5, _PRODUCT: 1}
_STAYS_INT8 = 100
# A scale outside these has no finite inverse in float32, or comes from weights that are practically zero.
_SMALLEST_PEAK = 1e-30


@dataclass(frozen=True, slots=True)
class NcnnCalibrated:
    """A float32 ncnn model with its calibration histograms.

    Attributes:
        graph: The layers and how they are connected.
        weights: The arrays of each layer.
        signature: The inputs and outputs.
        histograms: The histogram of the input of each layer that can be int8, by the tensor's name.
        samples: The calibration samples.
        source: The graph file.
    """

    graph: NcnnGraph
    weights: Weights
    signature: NcnnSignature
    histograms: Mapping[str, Histogram]
    samples: Sequence[Tensors]
    source: Path

    @property
    def layers(self) -> tuple[NcnnLayer, ...]:
        """The layers that can be int8."""
        return tuple(layer for layer in self.graph.layers if _can_be_int8(layer, self.weights))


@dataclass(frozen=True, slots=True)
class NcnnInt8Settings:
    """How an ncnn model is quantized to static int8.

    Attributes:
        method: How the range of an activation is computed from its histogram.
        keep_float: Layers left in float32, by name.
        biases: Corrected biases, by layer name; other layers keep their biases.
    """

    method: Method
    keep_float: frozenset[str] = frozenset()
    biases: Mapping[str, FloatArray] | None = None


def calibrate_ncnn(source: Path, *, samples: Sequence[Tensors]) -> NcnnCalibrated:
    """Observe the inputs of all layers that can be int8.

    Args:
        source: The graph file of a float32 model, its weights beside it.
        samples: One inference each, by input name, batch first.

    Raises:
        DataError: There is no sample, or the model fails on one.
        ExportError: The model has no layer that can be int8, or weights of an unknown kind of layer.
    """
    if not samples:
        raise DataError("calibration has 0 samples: expected at least 1")
    text = source.read_text(encoding="utf-8")
    graph = parse_graph(text)
    weights = read_weights(graph, source.with_suffix(WEIGHTS_SUFFIX).read_bytes(), name=source.name)
    graph, arrays = _add_missing_biases(graph, weights)
    candidates = [layer for layer in graph.layers if _can_be_int8(layer, arrays)]
    if not candidates:
        kinds = ", ".join(sorted({layer.kind for layer in graph.layers}))
        raise ExportError(f"{source.name}: static int8 has nothing to quantize: the layers are {kinds}")
    tensors = sorted({layer.inputs[0] for layer in candidates})
    histograms = {name: Histogram() for name in tensors}
    for values in run_tensors(source, samples, tensors):
        for name, array in values.items():
            histograms[name].add(array)
    return NcnnCalibrated(graph, arrays, NcnnSignature.parse(text), histograms, samples, source)


def write_ncnn_int8(calibrated: NcnnCalibrated, path: Path, *, settings: NcnnInt8Settings, fuse: bool = True) -> None:
    """Write the model with int8 layers.

    Args:
        calibrated: The float32 model.
        path: The graph file; the weights go beside it.
        settings: How each layer is quantized.
        fuse: Whether an activation between two int8 convolutions stays int8.

    Raises:
        ExportError: Every layer is kept in float.
    """
    quantized = {
        layer.name: layer
        for layer in calibrated.layers
        if layer.name not in settings.keep_float and calibrated.histograms[layer.inputs[0]].bounded
    }
    if not quantized:
        raise ExportError(f"{path.name}: no layer is left for int8")
    scales = {name: _activation_scale(histogram, settings.method) for name, histogram in calibrated.histograms.items()}
    layers, parts = [], []
    for layer in calibrated.graph.layers:
        arrays = calibrated.weights.get(layer.name, ())
        if settings.biases is not None and layer.name in settings.biases:
            arrays = (arrays[0], settings.biases[layer.name])
        if layer.name not in quantized:
            layers.append(layer)
            parts += [
                encode_floats(values, flagged=block.flagged)
                for block, values in zip(blocks_of(layer), arrays, strict=True)
            ]
            continue
        next_layer = _only_int8_reader(layer, calibrated.graph, quantized) if fuse else None
        output_scale = None if next_layer is None else scales[next_layer.inputs[0]]
        term = _TERMS[layer.kind] + (0 if output_scale is None else _STAYS_INT8)
        layers.append(replace(layer, parameters={**layer.parameters, _INT8_TERM: str(term)}))
        parts.append(_encode_layer(layer, arrays, input_scale=scales[layer.inputs[0]], output_scale=output_scale))
    write_pair(path, NcnnGraph(tuple(layers)), b"".join(parts), signature=calibrated.signature)


def _can_be_int8(layer: NcnnLayer, weights: Weights) -> bool:
    if layer.kind == _DEPTHWISE and layer.integer(_GROUPS) != layer.integer(_OUTPUTS_OF):
        # ncnn 1.0.20261020 computes grouped convolutions wrong in int8 where a group has a multiple of 8 channels and
        # the output is float: errors as large as the values, on x86-64.
        return False
    return layer.kind in _TERMS and layer.name in weights and len(layer.inputs) == 1


def _add_missing_biases(graph: NcnnGraph, weights: Weights) -> tuple[NcnnGraph, Weights]:
    """Add zero biases to layers without a bias, so that bias correction can change them."""
    layers, arrays = [], dict(weights)
    for layer in graph.layers:
        if _can_be_int8(layer, weights) and not layer.integer(_HAS_BIAS[layer.kind]):
            arrays[layer.name] = (*weights[layer.name], np.zeros(layer.integer(_OUTPUTS_OF), np.float32))
            layer = replace(layer, parameters={**layer.parameters, _HAS_BIAS[layer.kind]: "1"})  # noqa: PLW2901
        layers.append(layer)
    return NcnnGraph(tuple(layers)), arrays


def _only_int8_reader(layer: NcnnLayer, graph: NcnnGraph, quantized: Mapping[str, NcnnLayer]) -> NcnnLayer | None:
    """Return the int8 convolution that is the only reader of a convolution's output, if there is one."""
    readers = graph.readers(layer.outputs[0])
    if layer.kind == _PRODUCT or len(readers) != 1:
        return None
    (reader,) = readers
    return reader if reader.name in quantized and reader.kind != _PRODUCT else None


def _activation_scale(histogram: Histogram, method: Method) -> float:
    low, high = find_range(histogram, method=method)
    peak = max(abs(low), abs(high))
    return _TOP_LEVEL / peak if peak > _SMALLEST_PEAK else 1.0


def _encode_layer(
    layer: NcnnLayer, arrays: tuple[FloatArray, ...], *, input_scale: float, output_scale: float | None
) -> bytes:
    levels, weight_scales = quantize_rows(rows_of(layer, arrays[0]))
    scales = [*weight_scales, input_scale, *([] if output_scale is None else [output_scale])]
    biases = [encode_floats(bias, flagged=False) for bias in arrays[1:]]
    return b"".join([encode_int8(levels), *biases, np.array(scales, "<f4").tobytes()])


def rows_of(layer: NcnnLayer, weights: FloatArray) -> FloatArray:
    """Return the weights with one row for each scale: each group of a depthwise layer, each output of others."""
    return weights.reshape(layer.integer(_GROUPS if layer.kind == _DEPTHWISE else _OUTPUTS_OF), -1)


def quantize_rows(rows: FloatArray) -> tuple[npt.NDArray[np.int8], FloatArray]:
    """Quantize weights of shape (rows, values): return levels of the same shape and the scale of each row."""
    peaks = np.abs(rows).max(axis=1)
    scales = np.where(peaks > _SMALLEST_PEAK, _TOP_LEVEL / np.maximum(peaks, _SMALLEST_PEAK), 1.0).astype(np.float32)
    levels = np.clip(np.rint(rows * scales[:, None]), -_TOP_LEVEL, _TOP_LEVEL).astype(np.int8)
    return levels, scales
