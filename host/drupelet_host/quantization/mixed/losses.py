"""Measures the loss of each layer in int8 by quantizing one layer at a time."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnxruntime as ort

from drupelet_host.compute.backend import ComputeBackend, Task, run_until
from drupelet_host.compute.in_process import IN_PROCESS
from drupelet_host.data.samples import Tensors
from drupelet_host.errors import ExportError
from drupelet_host.onnx_files.canonical import write_canonical
from drupelet_host.onnx_files.graph import Array, copy_model
from drupelet_host.onnx_files.running import run_samples
from drupelet_host.progress.pace import UNHURRIED, Pace
from drupelet_host.quantization.choice import Judge
from drupelet_host.quantization.mixed.sensitivity import measure_errors
from drupelet_host.quantization.static import Calibrated, StaticSettings, write_static

_ERROR_SAMPLES = 8
# Beyond this many layers, writing and scoring an int8 model for each would take minutes; of those, so many are scored.
_MANY_LAYERS, _SCORED_OF_MANY = 48, 16


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
    calibrated: Calibrated,
    *,
    judge: Judge,
    settings: StaticSettings,
    float_score: float,
    pace: Pace = UNHURRIED,
    compute: ComputeBackend = IN_PROCESS,
) -> dict[str, LayerLoss]:
    """Quantize one layer at a time, all others float, and score each model.

    Errors measured this way nearly add up. With all other layers in int8, their errors would hide that of the layer.
    Source: Nagel et al. 2021, "A White Paper on Neural Network Quantization", section 4.3.

    Where there are many layers, only those with the largest errors are scored; the errors of all come from one session,
    and the losses of the others follow from them: a loss grows with the square of the error. So do those of the layers
    for which no time is left.

    Args:
        calibrated: The float model with its calibration histograms.
        judge: Scores a model file.
        settings: How layers are quantized; its `keep_float` is ignored.
        float_score: The float model's score by the same judge.
        pace: Receives the progress, and limits the time.
        compute: What measures the layers.

    Returns:
        The loss of each layer by name.
    """
    layers = calibrated.layers
    samples = list(calibrated.samples[:_ERROR_SAMPLES])
    # Bias correction uses the same few samples: with all of them, a large model would take hours.
    few = replace(calibrated, samples=samples)
    errors: dict[str, float] = {}
    scored = list(layers)
    if len(layers) > _MANY_LAYERS:
        errors = measure_errors(calibrated, method=settings.method, samples=samples)
        scored = sorted(layers, key=lambda layer: -errors[layer.name])[:_SCORED_OF_MANY]
    bench = compute.share(_LossBench(few, settings, float_score, tuple(_run_float(few))))
    scorer = compute.share(judge)
    tasks = [Task(f"{layer.label} alone in int8", measure_layer, (bench, scorer, layer.name)) for layer in scored]

    def report(name: str, done: int, total: int) -> None:
        pace.progressed(name, done=done, total=total)

    results = run_until(compute, tasks, is_over=pace.limit, on_done=report)
    losses: dict[str, LayerLoss] = dict(zip([layer.name for layer in scored], results, strict=False))
    if len(losses) < len(layers):
        errors = errors or measure_errors(calibrated, method=settings.method, samples=samples)
        losses |= _estimate_losses(errors, losses)
    return {layer.name: losses[layer.name] for layer in layers}


def _estimate_losses(errors: Mapping[str, float], scored: Mapping[str, LayerLoss]) -> dict[str, LayerLoss]:
    """Return the losses of the layers that were not scored, in proportion to the squares of their errors."""
    power = sum(loss.error**2 for loss in scored.values())
    scale = sum(max(loss.loss, 0.0) for loss in scored.values()) / power if power else 1.0
    return {name: LayerLoss(loss=scale * error**2, error=error) for name, error in errors.items() if name not in scored}


@dataclass(frozen=True, slots=True)
class _LossBench:
    """What the loss of a layer is measured with.

    Attributes:
        calibrated: The float model, with the few samples that errors are measured on.
        settings: How layers are quantized; its `keep_float` is ignored.
        float_score: The float model's score.
        expected: The float model's outputs for the samples.
    """

    calibrated: Calibrated
    settings: StaticSettings
    float_score: float
    expected: tuple[dict[str, Array], ...]


def measure_layer(bench: _LossBench, judge: Judge, name: str) -> LayerLoss:
    """Return what a layer alone in int8 costs.

    Args:
        bench: The float model, and how it is quantized.
        judge: Scores a model file.
        name: The name of the layer.
    """
    others = frozenset(layer.name for layer in bench.calibrated.layers) - {name}
    with tempfile.TemporaryDirectory(prefix="drupelet-") as folder:
        path = Path(folder) / "layer.onnx"
        try:
            write_static(bench.calibrated, path, settings=replace(bench.settings, keep_float=others))
        except ExportError:  # no int8 range contains its values
            return LayerLoss(loss=0.0, error=0.0, int8=False)
        error = _relative_rms(_run(path, bench.calibrated.samples), bench.expected)
        return LayerLoss(loss=bench.float_score - judge(path), error=error)


def _run_float(calibrated: Calibrated) -> list[dict[str, Array]]:
    with tempfile.TemporaryDirectory(prefix="drupelet-") as folder:
        path = Path(folder) / "float.onnx"
        write_float(calibrated, path)
        return _run(path, calibrated.samples)


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
