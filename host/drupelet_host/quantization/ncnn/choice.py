"""Chooses calibration method, bias correction and float layers of an int8 ncnn model by measured scores."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from drupelet_host.compute.backend import ComputeBackend, OnDone, Task, run_until
from drupelet_host.compute.in_process import IN_PROCESS
from drupelet_host.compute.model_files import ModelFiles
from drupelet_host.ncnn_files.running import run_tensors
from drupelet_host.progress.pace import UNHURRIED, Pace
from drupelet_host.quantization.choice import Judge, MethodScore, describe_method
from drupelet_host.quantization.ncnn.bias import correct_biases
from drupelet_host.quantization.ncnn.savings import rank_by_worth
from drupelet_host.quantization.ncnn.static import NcnnCalibrated, NcnnInt8Settings, write_ncnn_int8
from drupelet_host.quantization.ranges import METHODS, Method
from drupelet_shared.engines.base import Array, Tensors

_LOSS_SAMPLES = 8


@dataclass(frozen=True, slots=True)
class NcnnChoice:
    """The best int8 settings among those tried.

    Attributes:
        settings: The settings with the highest score; the first of several equal ones.
        score: The score of these settings.
        scores: All scores, in the order in which they were measured.
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
    pace: Pace = UNHURRIED,
    compute: ComputeBackend = IN_PROCESS,
) -> NcnnChoice:
    """Quantize by each method, with and without bias correction, and keep the best.

    Args:
        calibrated: The float32 model with its calibration histograms.
        judge: Scores a model file on samples that were not used for calibration.
        methods: The methods to try, at least one.
        keep_float: Layers left in float32, by name.
        pace: Receives the progress, and limits the time; at least one method is tried.
        compute: What tries the methods.

    Returns:
        The best settings with the score of each method.

    Raises:
        DataError: The model fails on a calibration sample.
        ExportError: Every layer is kept in float.
    """
    bench = (compute.share(calibrated), compute.share(ModelFiles.read(calibrated.source)), compute.share(judge))
    tried = list(itertools.product(methods, (False, True)))
    tasks = [
        Task(
            f"ncnn: calibration by {describe_method(method, bias=bias)}",
            try_method,
            (*bench, NcnnInt8Settings(method, keep_float), bias),
        )
        for method, bias in tried
    ]
    candidates = run_until(compute, tasks, is_over=pace.limit, at_least=1, on_done=_report(pace))
    scores = tuple(
        MethodScore(method, bias, score) for (method, bias), (_, score) in zip(tried, candidates, strict=False)
    )
    settings, best = max(candidates, key=lambda candidate: candidate[1])
    return NcnnChoice(settings, best, scores)


def try_method(
    calibrated: NcnnCalibrated,
    files: ModelFiles,
    judge: Judge,
    settings: NcnnInt8Settings,
    is_corrected: bool,  # noqa: FBT001 - a task's arguments have no names
) -> tuple[NcnnInt8Settings, float]:
    """Return the settings, with corrected biases where they are asked for, and their score.

    Args:
        calibrated: The float32 model with its calibration histograms.
        files: Its files.
        judge: Scores a model file.
        settings: How it is quantized.
        is_corrected: Whether biases are corrected.
    """
    with tempfile.TemporaryDirectory(prefix="drupelet-") as folder:
        calibrated = replace(calibrated, source=files.write(Path(folder)))
        if is_corrected:
            settings = correct_biases(calibrated, settings)
        path = Path(folder) / "candidate.param"
        write_ncnn_int8(calibrated, path, settings=settings)
        return settings, judge(path)


def keep_costly_layers(
    calibrated: NcnnCalibrated,
    choice: NcnnChoice,
    *,
    judge: Judge,
    lowest_score: float,
    saved_ms: Mapping[str, float] | None = None,
    pace: Pace = UNHURRIED,
    compute: ComputeBackend = IN_PROCESS,
) -> NcnnChoice | None:
    """Keep the fewest layers in float32 with which the model reaches a score.

    Layers are ranked by the error of the outputs with only that layer in int8, for the time that int8 saves in it;
    bisection finds their number.

    Args:
        calibrated: The float32 model.
        choice: The best settings with every layer in int8.
        judge: Scores a model file on samples that were not used for calibration.
        lowest_score: The score to reach.
        saved_ms: What int8 saves on the target in each layer; None ranks layers by their errors alone.
        pace: Receives the progress, and limits the time; the mixture with the fewest float layers so far is taken.
        compute: What measures the layers.

    Returns:
        The settings of the mixed model, or None where none reaches the score.
    """
    errors = measure_errors(calibrated, choice.settings, pace=pace, compute=compute)
    names = rank_by_worth(errors, saved_ms)
    method, corrected = choice.settings.method, choice.settings.biases is not None
    best: NcnnChoice | None = None
    low, high = 1, len(names) - 1
    with tempfile.TemporaryDirectory(prefix="drupelet-") as folder:
        path = Path(folder) / "candidate.param"
        while low <= high and not (best is not None and pace.is_over):
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


def measure_errors(
    calibrated: NcnnCalibrated,
    settings: NcnnInt8Settings,
    *,
    pace: Pace = UNHURRIED,
    compute: ComputeBackend = IN_PROCESS,
) -> dict[str, float]:
    """Return the relative RMS error of the outputs with only one layer in int8, by the layer's name.

    Args:
        calibrated: The float32 model.
        settings: The settings with every layer in int8.
        pace: Receives the progress, and limits the time: layers that were not measured have no error.
        compute: What measures the layers.
    """
    few = replace(calibrated, samples=list(calibrated.samples[:_LOSS_SAMPLES]))
    names = [layer.name for layer in calibrated.layers if layer.name not in settings.keep_float]
    outputs = [tensor.blob for tensor in calibrated.signature.outputs]
    expected = compute.share(list(run_tensors(calibrated.source, few.samples, outputs)))
    shared = compute.share(few)
    tasks = []
    for name in names:
        alone = replace(settings, keep_float=settings.keep_float | frozenset(names) - {name}, biases=None)
        tasks.append(Task(f"ncnn: {name} alone in int8", measure_error, (shared, expected, alone)))
    measured = run_until(compute, tasks, is_over=pace.limit, on_done=_report(pace))
    return dict.fromkeys(names, 0.0) | dict(zip(names, measured, strict=False))


def measure_error(calibrated: NcnnCalibrated, expected: Sequence[Tensors], settings: NcnnInt8Settings) -> float:
    """Return the largest relative RMS error of an output on the model's samples.

    Args:
        calibrated: The float32 model with the samples.
        expected: Its outputs for them.
        settings: How it is quantized.
    """
    outputs = [tensor.blob for tensor in calibrated.signature.outputs]
    with tempfile.TemporaryDirectory(prefix="drupelet-") as folder:
        path = Path(folder) / "layer.param"
        write_ncnn_int8(calibrated, path, settings=settings)
        actual = list(run_tensors(path, calibrated.samples, outputs))
    return max(
        _relative_rms(one[output], other[output])
        for one, other in zip(actual, expected, strict=True)
        for output in outputs
    )


def _report(pace: Pace) -> OnDone:
    def report(name: str, done: int, total: int) -> None:
        pace.progressed(name, done=done, total=total)

    return report


def _relative_rms(actual: Array, expected: Array) -> float:
    scale = float(np.sqrt(np.mean(np.square(expected, dtype=np.float64)))) or 1.0
    return float(np.sqrt(np.mean(np.square(actual.astype(np.float64) - expected)))) / scale
