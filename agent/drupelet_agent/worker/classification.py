"""Classification: the labelled top k of scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from drupelet_shared.engines.base import Array
from drupelet_shared.errors import InferenceFailedError
from drupelet_shared.package.manifest import Classification


def labelled_top_k(scores: Array, classification: Classification, *, labels: Sequence[str]) -> dict[str, Array]:
    """Return the best classes of one sample, best first.

    Args:
        scores: Shape [classes] or [1, classes].
        classification: The number of classes to return, and the activation that turns scores into probabilities.
        labels: The label of each class; a class without one is named by its index.

    Returns:
        `labels` (BYTES), `scores` (FP32) and `indices` (INT64), each of shape [k]; k is at most the number of classes.

    Raises:
        InferenceFailedError: The scores do not have one of these shapes.
    """
    if scores.ndim not in {1, 2} or (scores.ndim == 2 and scores.shape[0] != 1):  # noqa: PLR2004 - ranks
        raise InferenceFailedError(
            f"output {classification.output!r} has shape {list(scores.shape)}: expected [classes] or [1, classes]"
        )
    values = _activate(scores.reshape(-1).astype(np.float32), classification)
    indices = np.argsort(-values, kind="stable")[: classification.top_k].astype(np.int64)
    names = np.empty(len(indices), dtype=object)
    names[:] = [(labels[index] if index < len(labels) else str(index)).encode() for index in indices]
    return {"labels": names, "scores": values[indices], "indices": indices}


def _activate(scores: Array, classification: Classification) -> Array:
    # Infinite scores become NaN, which the reply refuses; beyond 88 exp overflows to infinity, whose reciprocal is 0.
    with np.errstate(invalid="ignore", over="ignore"):
        if classification.activation == "softmax":
            exponentials = np.exp(scores - scores.max(initial=-np.inf))
            shares: Array = exponentials / exponentials.sum()
            return shares
        if classification.activation == "sigmoid":
            probabilities: Array = 1 / (1 + np.exp(-scores))
            return probabilities
    return scores
