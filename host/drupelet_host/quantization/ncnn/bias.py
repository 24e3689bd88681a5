"""Bias correction for ncnn: subtracts the mean error that rounded weights cause in a channel from its bias.

With weights W that become W + e, the output of a layer shifts by e E[x] on average; calibration samples give E[x].
Source: Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", 2019, section 4.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from drupelet_host.ncnn_files.graph import NcnnLayer
from drupelet_host.ncnn_files.running import run_tensors
from drupelet_host.ncnn_files.weights import FloatArray
from drupelet_host.quantization.ncnn.static import NcnnCalibrated, NcnnInt8Settings, quantize_rows, rows_of

_SAMPLES = 32


def correct_biases(calibrated: NcnnCalibrated, settings: NcnnInt8Settings) -> NcnnInt8Settings:
    """Return the settings with a corrected bias for each int8 layer.

    Args:
        calibrated: The float32 model.
        settings: How each layer becomes int8.

    Raises:
        DataError: The model fails on a calibration sample.
        ExportError: ncnn cannot load the model.
    """
    layers = [layer for layer in calibrated.layers if layer.name not in settings.keep_float]
    means = _input_means(calibrated, layers)
    biases = {}
    for layer in layers:
        weights, bias = calibrated.weights[layer.name]
        levels, scales = quantize_rows(rows_of(layer, weights))
        error = (levels / scales[:, None]).reshape(-1) - weights
        biases[layer.name] = (bias - _output_shift(layer, error, means[layer.name])).astype(np.float32)
    return replace(settings, biases=biases)


def _input_means(calibrated: NcnnCalibrated, layers: list[NcnnLayer]) -> Mapping[str, npt.NDArray[np.float64]]:
    """Return the mean of each channel of a convolution's input, and of each element of a product's."""
    sums: dict[str, npt.NDArray[np.float64]] = {}
    samples = calibrated.samples[:_SAMPLES]
    for values in run_tensors(calibrated.source, samples, sorted({layer.inputs[0] for layer in layers})):
        for layer in layers:
            array = values[layer.inputs[0]].astype(np.float64)
            if layer.kind == "InnerProduct":
                inputs = layer.integer(2) // layer.integer(0)
                mean = array.reshape(-1, inputs).mean(axis=0)
            else:
                mean = array.reshape(len(array), -1).mean(axis=1)
            sums[layer.name] = sums.get(layer.name, np.zeros_like(mean)) + mean
    return {name: total / len(samples) for name, total in sums.items()}


def _output_shift(
    layer: NcnnLayer, error: npt.NDArray[np.float64] | FloatArray, means: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the mean shift of each output channel by an error of the weights, ignoring the edges of padded images."""
    outputs = layer.integer(0)
    if layer.kind == "InnerProduct":
        return np.asarray(error.reshape(outputs, -1) @ means, np.float64)
    groups = layer.integer(7, 1) if layer.kind == "ConvolutionDepthWise" else 1
    per_group = len(means) // groups
    kernels = error.reshape(groups, outputs // groups, per_group, -1).sum(axis=3)
    return np.asarray(np.einsum("goi,gi->go", kernels, means.reshape(groups, per_group)), np.float64).reshape(outputs)
