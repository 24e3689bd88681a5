"""Anomaly detection: whether a score exceeds the threshold."""

from __future__ import annotations

import numpy as np

from drupelet_shared.engines.base import Array, Tensors
from drupelet_shared.errors import InferenceFailedError
from drupelet_shared.postprocessing.specs import Anomaly

SCORE, THRESHOLD, VERDICT = "score", "threshold", "is_anomaly"


def judge(outputs: Tensors, anomaly: Anomaly) -> dict[str, Array]:
    """Compare each score with the threshold.

    Args:
        outputs: The model's outputs by name.
        anomaly: Which output has the scores, and the threshold.

    Returns:
        `score` (FP32, [k]), one for each value of the output in its order, `is_anomaly` (BOOL, [k]), and `threshold`
        (FP32, [1]).

    Raises:
        InferenceFailedError: A score is NaN.
    """
    scores = np.asarray(outputs[anomaly.output]).reshape(-1).astype(np.float32)
    if np.isnan(scores).any():
        raise InferenceFailedError(f"output {anomaly.output!r}: a score is NaN")
    threshold = np.array([anomaly.threshold], np.float32)
    return {SCORE: scores, VERDICT: scores > threshold, THRESHOLD: threshold}
