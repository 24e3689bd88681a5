"""Labels of class indices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from drupelet_shared.engines.base import Array


def label_classes(indices: Array, labels: Sequence[str]) -> Array:
    """Return the label of each class index as UTF-8 bytes, shape [k]; a class without a label is named by its index."""
    names = np.empty(len(indices), dtype=object)
    names[:] = [(labels[index] if 0 <= index < len(labels) else str(index)).encode() for index in indices.tolist()]
    return names


def activate(scores: Array, activation: str) -> Array:
    """Turn scores into probabilities along the last axis.

    Infinite scores become NaN under softmax; beyond 88 the exponential overflows to infinity, whose reciprocal is 0.

    Args:
        scores: Of any shape.
        activation: "none", "softmax" or "sigmoid".
    """
    with np.errstate(invalid="ignore", over="ignore"):
        if activation == "softmax":
            exponentials = np.exp(scores - scores.max(axis=-1, keepdims=True, initial=-np.inf))
            shares: Array = exponentials / exponentials.sum(axis=-1, keepdims=True)
            return shares
        if activation == "sigmoid":
            probabilities: Array = 1 / (1 + np.exp(-scores))
            return probabilities
    return scores
