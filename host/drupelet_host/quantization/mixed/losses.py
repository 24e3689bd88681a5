"""What int8 costs the answers, layer by layer."""

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
    """What a model loses when one layer alone is int8.

    Attributes:
        loss: The float model's score less the score with the layer in int8.
        error: The difference it makes to the outputs, root mean square, as a fraction of the float model's.
        int8: Whether the layer can be int8 at all; if not, nothing is lost.
    """

    loss: float
    error: float
    int8: bool = True


def write_float(calibrated: Calibrated, path: Path) -> None:
    """The calibrated model as it is, for comparing."""
    write_canonical(copy_model(calibrated.model), path)


def measure_losses(
    calibrated: Calibrated, *, judge: Judge, settings: StaticSettings, float_score: float
) -> dict[str, LayerLoss]:
    """Quantize one layer at a time, all others float, and score each model.

    So a layer's error stands alone. With all layers but one in int8, the others' errors hide it, and it also saturates
    with them; errors measured alone nearly add up (Nagel et al. 2021, "A White Paper on Neural Network Quantization",
    section 4.3, debugs a model in this way).

    Args:
        calibrated: The model.
        judge: Scores a file.
        settings: How layers are quantized; what it keeps in float does not count here.
        float_score: The float model's score by the same judge.

    Returns:
        The loss of each layer by name.
    """
    names = frozenset(layer.name for layer in calibrated.layers)
    samples = list(calibrated.samples[:_ERROR_SAMPLES])
    # Biases are corrected from these few too: with all of them, the trials of a large model would take hours.
    calibrated = replace(calibrated, samples=samples)
    losses: dict[str, LayerLoss] = {}
    with tempfile.TemporaryDirectory(prefix="drupelet-") as folder:
        whole, path = Path(folder) / "float.onnx", Path(folder) / "layer.onnx"
        write_float(calibrated, whole)
        expected = _run(whole, samples)
        for layer in calibrated.layers:
            try:
                write_static(calibrated, path, settings=replace(settings, keep_float=names - {layer.name}))
            except ExportError:  # no range of int8 holds its values
                losses[layer.name] = LayerLoss(loss=0.0, error=0.0, int8=False)
                continue
            error = _relative_rms(_run(path, samples), expected)
            losses[layer.name] = LayerLoss(loss=float_score - judge(path), error=error)
    return losses


def _run(path: Path, samples: Sequence[Tensors]) -> list[dict[str, Array]]:
    return list(run_samples(path, samples, optimisation=ort.GraphOptimizationLevel.ORT_ENABLE_ALL))


def _relative_rms(found: Iterable[dict[str, Array]], expected: Iterable[dict[str, Array]]) -> float:
    """Over all samples and float outputs."""
    off = power = 0.0
    for answers, wanted in zip(found, expected, strict=True):
        for name, values in wanted.items():
            if np.issubdtype(values.dtype, np.floating) and answers[name].shape == values.shape:
                off += float(np.square(answers[name] - values, dtype=np.float64).sum())
                power += float(np.square(values, dtype=np.float64).sum())
    return float(np.sqrt(off / power)) if power else float(np.sqrt(off))
