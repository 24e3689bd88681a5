"""Measures the loss of each layer in int8 by quantizing one layer at a time."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnxruntime as ort

from drupelet_host.data.samples import Tensors
from drupelet_host.errors import ExportError
from drupelet_host.onnx_files.canonical import write_canonical
from drupelet_host.onnx_files.graph import Array, copy_model
from drupelet_host.onnx_files.running import run_samples
from drupelet_host.quantization.choice import Judge
from drupelet_host.quantization.static import Calibrated, StaticSettings, write_static

_ERROR_SAMPLES = 8


@dataclass(frozen=True, slots=True)
class LayerLoss:
    """The loss of a model when only one layer is int8.

    Attributes:
        loss: The float model's score minus the score with this layer in int8.
        error: The root mean square of the change of the outputs, relative to that of the float outputs.
        int8: Whether the layer can be int8; if not, loss and error are 0.
    """

    loss: float
    error: float
    int8: bool = True


def write_float(calibrated: Calibrated, path: Path) -> None:
    """Write the calibrated float model, as the reference."""
    write_canonical(copy_model(calibrated.model), path)


def measure_losses(
    calibrated: Calibrated, *, judge: Judge, settings: StaticSettings, float_score: float
) -> dict[str, LayerLoss]:
    """Quantize one layer at a time, all others float, and score each model.

    Errors measured this way nearly add up. With all other layers in int8, their errors would hide that of the layer.
    Source: Nagel et al. 2021, "A White Paper on Neural Network Quantization", section 4.3.

    Args:
        calibrated: The float model with its calibration histograms.
        judge: Scores a model file.
        settings: How layers are quantized; its `keep_float` is ignored.
        float_score: The float model's score by the same judge.

    Returns:
        The loss of each layer by name.
    """
    names = frozenset(layer.name for layer in calibrated.layers)
    samples = list(calibrated.samples[:_ERROR_SAMPLES])
    # Bias correction uses the same few samples: with all of them, a large model would take hours.
    calibrated = replace(calibrated, samples=samples)
    losses: dict[str, LayerLoss] = {}
    with tempfile.TemporaryDirectory(prefix="drupelet-") as folder:
        whole, path = Path(folder) / "float.onnx", Path(folder) / "layer.onnx"
        write_float(calibrated, whole)
        expected = _run(whole, samples)
        for layer in calibrated.layers:
            try:
                write_static(calibrated, path, settings=replace(settings, keep_float=names - {layer.name}))
            except ExportError:  # no int8 range contains its values
                losses[layer.name] = LayerLoss(loss=0.0, error=0.0, int8=False)
                continue
            error = _relative_rms(_run(path, samples), expected)
            losses[layer.name] = LayerLoss(loss=float_score - judge(path), error=error)
    return losses


def _run(path: Path, samples: Sequence[Tensors]) -> list[dict[str, Array]]:
    return list(run_samples(path, samples, optimisation=ort.GraphOptimizationLevel.ORT_ENABLE_ALL))


def _relative_rms(actual: Iterable[dict[str, Array]], expected: Iterable[dict[str, Array]]) -> float:
    """Return the relative root mean square error over all samples and float outputs."""
    error = power = 0.0
    for outputs, references in zip(actual, expected, strict=True):
        for name, values in references.items():
            if np.issubdtype(values.dtype, np.floating) and outputs[name].shape == values.shape:
                error += float(np.square(outputs[name] - values, dtype=np.float64).sum())
                power += float(np.square(values, dtype=np.float64).sum())
    return float(np.sqrt(error / power)) if power else float(np.sqrt(error))
