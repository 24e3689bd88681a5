"""Classification: the labelled top k of scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from drupelet_shared.engines.base import Array
from drupelet_shared.errors import InferenceFailedError
from drupelet_shared.postprocessing.labels import activate, label_classes
from drupelet_shared.postprocessing.specs import Classification


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
    values = activate(scores.reshape(-1).astype(np.float32), classification.activation)
    indices = np.argsort(-values, kind="stable")[: classification.top_k].astype(np.int64)
    return {"labels": label_classes(indices, labels), "scores": values[indices], "indices": indices}
