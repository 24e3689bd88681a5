from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from drupelet_shared.errors import InferenceFailedError
from drupelet_shared.postprocessing.anomaly import judge
from drupelet_shared.postprocessing.specs import Anomaly


@pytest.mark.parametrize(
    ("scores", "verdicts"),
    [
        (np.array([[0.5]], np.float32), [False]),
        (np.array([[0.5000001]], np.float32), [True]),
        (np.float64(0.75), [True]),
        (np.array([[1, 0, 2]], np.int64), [True, False, True]),
        (np.array([np.inf, -np.inf], np.float16), [True, False]),
    ],
)
def test_a_score_above_the_threshold_is_an_anomaly(scores: np.ndarray, verdicts: list[bool]) -> None:
    answer = judge({"y": scores, "other": np.ones(9)}, Anomaly(output="y", threshold=0.5))
    assert answer["is_anomaly"].tolist() == verdicts
    assert answer["is_anomaly"].dtype == np.bool_
    assert answer["score"].tolist() == np.asarray(scores, np.float32).reshape(-1).tolist()
    assert answer["threshold"].tolist() == [0.5]


def test_a_score_of_nan_is_no_verdict() -> None:
    with pytest.raises(InferenceFailedError, match="output 'y': a score is NaN"):
        judge({"y": np.array([[0.1, np.nan]])}, Anomaly(output="y", threshold=0.5))


@pytest.mark.parametrize("threshold", [float("nan"), float("inf"), "high"])
def test_a_threshold_is_a_finite_number(threshold: object) -> None:
    with pytest.raises(ValidationError):
        Anomaly.model_validate({"output": "y", "threshold": threshold})
