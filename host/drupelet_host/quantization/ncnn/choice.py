"""Chooses by evidence how an ncnn model becomes int8: the method, bias correction, and the layers left in float."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from drupelet_host.ncnn_files.running import run_tensors
from drupelet_host.quantization.choice import Judge, MethodScore
from drupelet_host.quantization.ncnn.bias import correct_biases
from drupelet_host.quantization.ncnn.static import NcnnCalibrated, NcnnInt8Settings, write_ncnn_int8
from drupelet_host.quantization.ranges import METHODS, Method
from drupelet_shared.engines.base import Array

_LOSS_SAMPLES = 8


@dataclass(frozen=True, slots=True)
class NcnnChoice:
    """How a model becomes int8.

    Attributes:
        settings: The best of the ways that were tried, the first of those that are equally good.
        score: Its score.
        scores: All that were tried, in order.
    """

    settings: NcnnInt8Settings
    score: float
    scores: tuple[MethodScore, ...]


def choose_ncnn_method(
    calibrated: NcnnCalibrated,
    *,
    judge: Judge,
    methods: Sequence[Method] = METHODS,
    keep_float: frozenset[str] = frozenset(),
) -> NcnnChoice:
    """Quantize by each method, with and without bias correction, and keep the best.

    Args:
        calibrated: The float32 model with what calibration observed.
        judge: Scores a file on samples that did not calibrate.
        methods: The methods to try, at least one.
        keep_float: Layers left in float32, by name.

    Returns:
        The best settings with the score of each method.

    Raises:
        DataError: A calibration sample does not run.
        ExportError: No layer is left for int8.
    """
    candidates: list[tuple[NcnnInt8Settings, MethodScore]] = []
    with tempfile.TemporaryDirectory(prefix="drupelet-") as folder:
        path = Path(folder) / "candidate.param"
        for method, bias_correction in itertools.product(methods, (False, True)):
            settings = NcnnInt8Settings(method, keep_float)
            if bias_correction:
                settings = correct_biases(calibrated, settings)
            write_ncnn_int8(calibrated, path, settings=settings)
            candidates.append((settings, MethodScore(method, bias_correction, judge(path))))
    settings, best = max(candidates, key=lambda candidate: candidate[1].score)
    return NcnnChoice(settings, best.score, tuple(scored for _, scored in candidates))


def keep_costly_layers(
    calibrated: NcnnCalibrated, choice: NcnnChoice, *, judge: Judge, lowest_score: float
) -> NcnnChoice | None:
    """Leave the fewest layers in float32 with which the model reaches a score.

    Layers are ranked by what each alone in int8 costs the outputs; the number of them is found by bisection.

    Args:
        calibrated: The float32 model.
        choice: The best way with every layer in int8.
        judge: Scores a file on samples that did not calibrate.
        lowest_score: The score to reach.

    Returns:
        The mixed model, or None where no mixture reaches the score.
    """
    names = rank_by_loss(calibrated, choice.settings)
    method, corrected = choice.settings.method, choice.settings.biases is not None
    best: NcnnChoice | None = None
    low, high = 1, len(names) - 1
    with tempfile.TemporaryDirectory(prefix="drupelet-") as folder:
        path = Path(folder) / "candidate.param"
        while low <= high:
            count = (low + high) // 2
            settings = NcnnInt8Settings(method, choice.settings.keep_float | frozenset(names[:count]))
            if corrected:
                settings = correct_biases(calibrated, settings)
            write_ncnn_int8(calibrated, path, settings=settings)
            score = judge(path)
            if score >= lowest_score:
                best, high = NcnnChoice(settings, score, choice.scores), count - 1
            else:
                low = count + 1
    return best


def rank_by_loss(calibrated: NcnnCalibrated, settings: NcnnInt8Settings) -> list[str]:
    """Return the names of the int8 layers by their relative RMS error alone in int8, the largest first."""
    outputs = [tensor.blob for tensor in calibrated.signature.outputs]
    samples = calibrated.samples[:_LOSS_SAMPLES]
    names = [layer.name for layer in calibrated.layers if layer.name not in settings.keep_float]
    expected = list(run_tensors(calibrated.source, samples, outputs))
    losses: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="drupelet-") as folder:
        path = Path(folder) / "layer.param"
        for name in names:
            alone = replace(settings, keep_float=settings.keep_float | frozenset(names) - {name}, biases=None)
            write_ncnn_int8(calibrated, path, settings=alone)
            actual = run_tensors(path, samples, outputs)
            losses[name] = max(
                _relative_rms(one[output], other[output])
                for one, other in zip(actual, expected, strict=True)
                for output in outputs
            )
    return sorted(names, key=lambda name: (-losses[name], name))


def _relative_rms(actual: Array, expected: Array) -> float:
    scale = float(np.sqrt(np.mean(np.square(expected, dtype=np.float64)))) or 1.0
    return float(np.sqrt(np.mean(np.square(actual.astype(np.float64) - expected)))) / scale
