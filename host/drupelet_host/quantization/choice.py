"""The calibration method by evidence: each is tried, and the judge says what it is worth."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from drupelet_host.quantization.ranges import METHODS, Method
from drupelet_host.quantization.static import Calibrated, StaticSettings, write_static

# The score of a model file; higher is better.
Judge = Callable[[Path], float]


@dataclass(frozen=True, slots=True)
class MethodScore:
    """The score of one way to quantize.

    Attributes:
        method: The calibration method.
        bias_correction: Whether biases were corrected.
        score: The score of the judge.
    """

    method: Method
    bias_correction: bool
    score: float

    @property
    def description(self) -> str:
        """The way in a few words."""
        return describe_method(self.method, bias=self.bias_correction)


@dataclass(frozen=True, slots=True)
class MethodChoice:
    """The best way to quantize among those tried.

    Attributes:
        settings: The best; the first of those that are equally good.
        scores: All, in the order in which they were tried.
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
        calibrated: The float model with what calibration saw.
        judge: Scores a file; it should not use the samples that calibrated.
        methods: At least one.
        bias_corrections: At least one; all methods are tried with the first before the next.
        keep_float: Layers left in float, by name.

    Returns:
        The best settings with the score of each method.

    Raises:
        DataError: A calibration sample does not run.
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
    """Return a way to calibrate in a few words."""
    return f"{method}+bias" if bias else method
