"""How well an anomaly detector tells normal samples from anomalies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from drupelet_host.data.labels import Labels
from drupelet_host.data.samples import Tensors
from drupelet_host.errors import DataError
from drupelet_shared.errors import InferenceFailedError
from drupelet_shared.postprocessing.anomaly import VERDICT, judge
from drupelet_shared.postprocessing.specs import Anomaly


@dataclass(frozen=True, slots=True)
class BalancedAccuracy:
    """The mean of the shares of normal samples that are accepted and of anomalies that are found.

    Attributes:
        anomaly: Which output has the score, and the threshold.
        name: The metric's name in reports.
    """

    anomaly: Anomaly
    name: str = "balanced_accuracy"

    def score(self, answers: Sequence[Tensors], *, labels: Labels | None, expected: Sequence[Tensors]) -> float:  # noqa: ARG002 - the protocol's
        """Compute the mean of both shares; see `Metric.score`.

        Args:
            answers: The model's outputs for each sample by name. A sample with several scores is an anomaly where one
                of them is.
            labels: 1 for an anomaly, 0 for a normal sample.
            expected: Not used.

        Returns:
            The value from 0 to 1; one half is chance.

        Raises:
            DataError: The data has no labels, or only normal samples or only anomalies.
        """
        if labels is None or len({*labels.tolist()}) != 2:  # noqa: PLR2004 - normal samples and anomalies
            raise DataError(f"{self.name} needs labels of normal samples (0) and of anomalies (1)")
        right = np.array(
            [self._is_right(answer, int(label)) for answer, label in zip(answers, labels.tolist(), strict=True)]
        )
        return float(np.mean([right[labels == label].mean() for label in (0, 1)]))

    def _is_right(self, answer: Tensors, label: int) -> bool:
        try:
            return bool(judge(answer, self.anomaly)[VERDICT].any()) == bool(label)
        except InferenceFailedError:
            # An answer of NaN is never right.
            return False
