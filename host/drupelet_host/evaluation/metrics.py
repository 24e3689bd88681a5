"""What a model is worth: one number from its answers, higher is better, the same for PyTorch and for the engines."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from drupelet_host.data.dataset import Labels
from drupelet_host.data.samples import Tensors
from drupelet_host.errors import DataError

MetricFunction = Callable[[Sequence[Tensors], Labels | None], float]


class Metric(Protocol):
    """Scores a model's answers."""

    @property
    def name(self) -> str:
        """What reports and manifests call it."""

    def score(self, answers: Sequence[Tensors], *, labels: Labels | None, expected: Sequence[Tensors]) -> float:
        """One number, higher is better.

        Args:
            answers: The model's outputs for each sample by name, batch first.
            labels: The class index of each sample, where there are labels.
            expected: The original's outputs for each sample, where they are known.

        Raises:
            DataError: What it compares with is not there.
        """


@dataclass(frozen=True, slots=True)
class Top1:
    """The fraction of samples whose label has the highest score."""

    name: str = "top1"

    def score(self, answers: Sequence[Tensors], *, labels: Labels | None, expected: Sequence[Tensors]) -> float:  # noqa: ARG002 - the protocol's
        """From scores of shape (1, classes) in the only output."""
        if labels is None:
            raise DataError(f"{self.name} needs labels: the data has {len(answers)} inputs and none")
        chosen = np.array([int(np.argmax(_only(answer))) for answer in answers])
        return int((chosen == labels).sum()) / len(answers)


@dataclass(frozen=True, slots=True)
class Agreement:
    """How often the highest score is where the original's is; of shape (1, classes) or (1, positions, classes)."""

    name: str = "agreement"

    def score(self, answers: Sequence[Tensors], *, labels: Labels | None, expected: Sequence[Tensors]) -> float:  # noqa: ARG002 - the protocol's
        """The mean over samples, each the fraction of its positions."""
        _need_expected(self.name, answers, expected)
        pairs = zip(answers, expected, strict=True)
        return math.fsum(_agreeing(_only(found), _only(wanted)) for found, wanted in pairs) / len(answers)


@dataclass(frozen=True, slots=True)
class Fidelity:
    """How near every output is to the original's: 1 less the relative error, and 0 where the error is larger.

    The relative error of one tensor is the Euclidean norm of the difference over that of the original's.
    """

    name: str = "fidelity"

    def score(self, answers: Sequence[Tensors], *, labels: Labels | None, expected: Sequence[Tensors]) -> float:  # noqa: ARG002 - the protocol's
        """The mean over samples and outputs."""
        _need_expected(self.name, answers, expected)
        nearness = [
            _nearness(found[name], wanted)
            for found, sample in zip(answers, expected, strict=True)
            for name, wanted in sample.items()
        ]
        return math.fsum(nearness) / len(nearness)


@dataclass(frozen=True, slots=True)
class CustomMetric:
    """A person's own function of all answers and labels."""

    name: str
    function: MetricFunction

    def score(self, answers: Sequence[Tensors], *, labels: Labels | None, expected: Sequence[Tensors]) -> float:  # noqa: ARG002 - the protocol's
        """What the function returns."""
        try:
            found = float(self.function(answers, labels))
        except Exception as error:  # a person's function may raise anything
            raise DataError(f"metric {self.name}: calling it failed: {type(error).__name__}: {error}") from error
        if not math.isfinite(found):
            raise DataError(f"metric {self.name}: returned {found}: expected a finite number, higher is better")
        return found


TOP1 = Top1()


def _only(answer: Tensors) -> npt.NDArray[Any]:
    (scores,) = answer.values()
    return scores


def _need_expected(name: str, answers: Sequence[Tensors], expected: Sequence[Tensors]) -> None:
    if len(expected) != len(answers):
        raise DataError(f"{name} needs the original's answers: got {len(expected)} for {len(answers)} samples")


def _agreeing(found: npt.NDArray[Any], wanted: npt.NDArray[Any]) -> float:
    if found.shape != wanted.shape:
        return 0.0
    return float((found.argmax(axis=-1) == wanted.argmax(axis=-1)).mean())


def _nearness(found: npt.NDArray[Any], wanted: npt.NDArray[Any]) -> float:
    if found.shape != wanted.shape:
        return 0.0
    reference = wanted.astype(np.float64)
    size, error = float(np.linalg.norm(reference)), float(np.linalg.norm(found.astype(np.float64) - reference))
    if error == 0:
        return 1.0
    # A NaN compares false, and an answer that holds one is worth nothing.
    return 1 - error / size if error < size else 0.0
