from __future__ import annotations

import numpy as np
import pytest

from drupelet_host.errors import DataError
from drupelet_host.evaluation.task_metrics.anomaly import BalancedAccuracy
from drupelet_shared.postprocessing.specs import Anomaly

METRIC = BalancedAccuracy(Anomaly(output="score", threshold=0.5))


def answers(*scores: float) -> list[dict[str, np.ndarray]]:
    return [{"score": np.array([[score]], np.float32)} for score in scores]


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ((0.1, 0.2, 0.3, 0.9), 1.0),
        ((0.9, 0.9, 0.9, 0.9), 0.5),
        ((0.1, 0.2, 0.3, 0.1), 0.5),
        ((0.9, 0.2, 0.3, 0.9), (2 / 3 + 1) / 2),
        ((0.1, 0.2, float("nan"), 0.9), (2 / 3 + 1) / 2),
        ((0.1, 0.2, 0.3, float("nan")), 0.5),
    ],
)
def test_normal_samples_and_anomalies_count_alike_however_many_there_are(
    scores: tuple[float, ...], expected: float
) -> None:
    labels = np.array([0, 0, 0, 1])
    assert METRIC.score(answers(*scores), labels=labels, expected=[]) == pytest.approx(expected)


def test_a_sample_with_several_scores_is_an_anomaly_where_one_of_them_is() -> None:
    samples = [{"score": np.array([[0.1, 0.2]])}, {"score": np.array([[0.1, 0.7]])}]
    assert METRIC.score(samples, labels=np.array([0, 1]), expected=[]) == 1.0


@pytest.mark.parametrize("labels", [None, np.array([0, 0]), np.array([1, 1])])
def test_both_kinds_of_samples_are_needed(labels: np.ndarray | None) -> None:
    with pytest.raises(DataError, match=r"balanced_accuracy needs labels of normal samples \(0\) and of anomalies"):
        METRIC.score(answers(0.1, 0.2), labels=labels, expected=[])
