"""Chooses the calibration method: quantizes with each one and keeps the best score."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from drupelet_host.compute.backend import ComputeBackend, Shared, Task, run_until
from drupelet_host.compute.in_process import IN_PROCESS
from drupelet_host.progress.pace import UNHURRIED, Pace
from drupelet_host.quantization.ranges import METHODS, Method
from drupelet_host.quantization.static import Calibrated, StaticSettings, write_static

# Scores a model file; higher is better.
Judge = Callable[[Path], float]
# The standard error of a score.
Noise = Callable[[float], float]


@dataclass(frozen=True, slots=True)
class MethodScore:
    """The score of one combination of calibration method and bias correction.

    Attributes:
        method: The calibration method.
        bias_correction: Whether biases were corrected.
        score: The quantized model's score.
    """

    method: Method
    bias_correction: bool
    score: float

    @property
    def description(self) -> str:
        """A short name, such as "entropy+bias"."""
        return describe_method(self.method, bias=self.bias_correction)


@dataclass(frozen=True, slots=True)
class MethodChoice:
    """The best quantization settings among those tried.

    Attributes:
        settings: The settings with the highest score; the first of several equal ones.
        scores: All scores, in the order in which they were measured.
    """

    settings: StaticSettings
    scores: tuple[MethodScore, ...]


def choose_method(
    calibrated: Calibrated,
    *,
    judge: Judge,
    methods: Sequence[Method] = METHODS,
    bias_corrections: Sequence[bool] = (False, True),
    keep_float: frozenset[str] = frozenset(),
    noise: Noise | None = None,
    pace: Pace = UNHURRIED,
    compute: ComputeBackend = IN_PROCESS,
) -> MethodChoice:
    """Quantize by each method, with and without bias correction, and keep the best.

    Args:
        calibrated: The float model with its calibration histograms.
        judge: Scores a model file on samples that were not used for calibration.
        methods: The calibration methods, at least one.
        bias_corrections: Whether to correct biases, at least one value; each is tried with all methods in turn.
        keep_float: Layers left in float, by name.
        noise: The standard error of a score; of the methods that agree within it, one is tried on with the next bias
            correction. None tries all.
        pace: Receives the progress, and limits the time; at least one method is tried.
        compute: What tries the methods.

    Returns:
        The best settings with the score of each method.

    Raises:
        DataError: The model fails on a calibration sample.
        ExportError: The model cannot be quantized.
    """
    scores: list[MethodScore] = []
    carried = list(methods)
    bench = (compute.share(calibrated), compute.share(judge))
    total = len(bias_corrections) * len(methods)
    for bias_correction in bias_corrections:
        tasks = [_make_trial(method, keep_float, bench, bias_correction=bias_correction) for method in carried]
        tried = len(scores)

        def report(name: str, done: int, _total: int, tried: int = tried) -> None:
            pace.progressed(name, done=tried + done, total=total)

        results = run_until(compute, tasks, is_over=pace.limit, at_least=int(not scores), on_done=report)
        scores += [MethodScore(method, bias_correction, score) for method, score in zip(carried, results, strict=False)]
        carried = carry_on(scores, noise=noise)
    best = max(scores, key=lambda scored: scored.score)
    return MethodChoice(StaticSettings(best.method, keep_float, best.bias_correction), tuple(scores))


def _make_trial(
    method: Method, keep_float: frozenset[str], bench: tuple[Shared, Shared], *, bias_correction: bool
) -> Task:
    settings = StaticSettings(method, keep_float, bias_correction)
    name = f"calibration by {describe_method(method, bias=bias_correction)}"
    return Task(name, score_settings, (*bench, settings))


def score_settings(calibrated: Calibrated, judge: Judge, settings: StaticSettings) -> float:
    """Return the score of the model that is quantized with these settings.

    Args:
        calibrated: The float model with its calibration histograms.
        judge: Scores a model file.
        settings: How it is quantized.
    """
    with tempfile.TemporaryDirectory(prefix="drupelet-") as folder:
        path = Path(folder) / "candidate.onnx"
        write_static(calibrated, path, settings=settings)
        return judge(path)


def carry_on(scores: Sequence[MethodScore], *, noise: Noise | None) -> list[Method]:
    """Return the methods worth trying with bias correction: of those that agree within the noise, the best.

    Args:
        scores: The scores without it.
        noise: The standard error of a score; None carries all on.
    """
    if noise is None:
        return [scored.method for scored in scores]
    carried: list[MethodScore] = []
    for scored in sorted(scores, key=lambda scored: -scored.score):
        if all(other.score - scored.score > noise(other.score) for other in carried):
            carried.append(scored)
    return [scored.method for scored in carried]


def describe_method(method: str, *, bias: bool) -> str:
    """Return a short name of a calibration method with or without bias correction."""
    return f"{method}+bias" if bias else method
