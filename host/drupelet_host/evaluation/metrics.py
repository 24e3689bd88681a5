"""Metrics: one number from a model's outputs, higher is better, computed alike for PyTorch and for the engines."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from drupelet_host.data.labels import Labels
from drupelet_host.data.samples import Tensors
from drupelet_host.errors import DataError
from drupelet_host.evaluation.fidelity import find_worst
from drupelet_host.recipe.user_errors import describe_user_error

MetricFunction = Callable[[Sequence[Tensors], Labels | None], float]


class Metric(Protocol):
    """Scores a model's outputs."""

    @property
    def name(self) -> str:
        """The metric's name in reports and manifests."""

    def score(self, answers: Sequence[Tensors], *, labels: Labels | None, expected: Sequence[Tensors]) -> float:
        """Compute the metric over all samples; see `Metric.score`.

        Args:
            answers: The model's outputs for each sample by name, batch first.
            labels: The class index of each sample; None where the data has no labels.
            expected: The original model's outputs for each sample; empty where they are not known.

        Returns:
            The metric's value; higher is better.

        Raises:
            DataError: The labels or the original's outputs that the metric needs are missing.
        """


@dataclass(frozen=True, slots=True)
class Top1:
    """The fraction of samples whose label has the highest score.

    Attributes:
        name: The metric's name in reports.
    """

    name: str = "top1"

    def score(self, answers: Sequence[Tensors], *, labels: Labels | None, expected: Sequence[Tensors]) -> float:  # noqa: ARG002 - the protocol's
        """Compute the fraction from scores of shape (1, classes) in the only output; see `Metric.score`.

        Raises:
            DataError: The data has no labels.
        """
        if labels is None:
            raise DataError(f"{self.name} needs labels: the data has {len(answers)} inputs and no labels")
        predicted = np.array([int(np.argmax(_only_output(answer))) for answer in answers])
        return int((predicted == labels).sum()) / len(answers)


@dataclass(frozen=True, slots=True)
class Agreement:
    """The fraction of samples that get the same class as from the original model.

    Scores have shape (1, classes) or (1, positions, classes).

    Attributes:
        name: The metric's name in reports.
    """

    name: str = "agreement"

    def score(self, answers: Sequence[Tensors], *, labels: Labels | None, expected: Sequence[Tensors]) -> float:  # noqa: ARG002 - the protocol's
        """Compute the mean over samples; a sample scores the fraction of its positions that agree; see `Metric.score`.

        Raises:
            DataError: The original's outputs are missing.
        """
        _require_expected(self.name, answers, expected)
        pairs = zip(answers, expected, strict=True)
        agreements = (_agreement(_only_output(answer), _only_output(original)) for answer, original in pairs)
        return math.fsum(agreements) / len(answers)


@dataclass(frozen=True, slots=True)
class Fidelity:
    """How near all outputs are to the original's: the fidelity of the worst group of channels; see `measure_fidelity`.

    Attributes:
        name: The metric's name in reports.
    """

    name: str = "fidelity"

    def score(self, answers: Sequence[Tensors], *, labels: Labels | None, expected: Sequence[Tensors]) -> float:  # noqa: ARG002 - the protocol's
        """Return the lowest fidelity of any group of channels of any output; see `Metric.score`.

        Raises:
            DataError: The original's outputs are missing.
        """
        _require_expected(self.name, answers, expected)
        return find_worst(answers, expected).score


@dataclass(frozen=True, slots=True)
class CustomMetric:
    """A user's own function of all outputs and labels.

    Attributes:
        name: The metric's name in reports.
        function: Called with the outputs of every sample and the labels; returns a finite number, higher is better.
    """

    name: str
    function: MetricFunction

    def score(self, answers: Sequence[Tensors], *, labels: Labels | None, expected: Sequence[Tensors]) -> float:  # noqa: ARG002 - the protocol's
        """Call the function; see `Metric.score`.

        Raises:
            DataError: The function raises an exception, or its result is not a finite number.
        """
        try:
            value = float(self.function(answers, labels))
        except Exception as error:  # a user's function may raise anything
            raise DataError(f"metric {self.name}: calling it failed: {describe_user_error(error)}") from error
        if not math.isfinite(value):
            raise DataError(f"metric {self.name}: returned {value}: expected a finite number, higher is better")
        return value


TOP1 = Top1()


def _only_output(answer: Tensors) -> npt.NDArray[Any]:
    (scores,) = answer.values()
    return scores


def _require_expected(name: str, answers: Sequence[Tensors], expected: Sequence[Tensors]) -> None:
    if len(expected) != len(answers):
        raise DataError(f"{name} needs the original's outputs: got {len(expected)} for {len(answers)} samples")


def _agreement(actual: npt.NDArray[Any], expected: npt.NDArray[Any]) -> float:
    if actual.shape != expected.shape:
        return 0.0
    return float((actual.argmax(axis=-1) == expected.argmax(axis=-1)).mean())
