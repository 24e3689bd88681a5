"""Chooses the calibration method: quantizes with each one and keeps the best score."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from drupelet_host.quantization.ranges import METHODS, Method
from drupelet_host.quantization.static import Calibrated, StaticSettings, write_static

# Scores a model file; higher is better.
Judge = Callable[[Path], float]


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
) -> MethodChoice:
    """Quantize by each method, with and without bias correction, and keep the best.

    Args:
        calibrated: The float model with its calibration histograms.
        judge: Scores a model file on samples that were not used for calibration.
        methods: The calibration methods, at least one.
        bias_corrections: Whether to correct biases, at least one value; each is tried with all methods in turn.
        keep_float: Layers left in float, by name.

    Returns:
        The best settings with the score of each method.

    Raises:
        DataError: The model fails on a calibration sample.
        ExportError: The model cannot be quantized.
    """
    scores = []
    with tempfile.TemporaryDirectory(prefix="drupelet-") as folder:
        path = Path(folder) / "candidate.onnx"
        for bias_correction, method in itertools.product(bias_corrections, methods):
            write_static(calibrated, path, settings=StaticSettings(method, keep_float, bias_correction))
            scores.append(MethodScore(method, bias_correction, judge(path)))
    best = max(scores, key=lambda scored: scored.score)
    return MethodChoice(StaticSettings(best.method, keep_float, best.bias_correction), tuple(scores))


def describe_method(method: str, *, bias: bool) -> str:
    """Return a short name of a calibration method with or without bias correction."""
    return f"{method}+bias" if bias else method
