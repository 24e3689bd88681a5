"""The 8 x 8 handwritten digits that come with scikit-learn, split once and for all."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_digits

VALIDATION_SAMPLES = 500
_SPLIT_SEED = 0
_INK_MAX, _PIXEL_MAX = 16, 255

Split = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]


def train() -> Split:
    """1297 images for training, recovery and calibration."""
    inputs, labels = _samples()
    return inputs[VALIDATION_SAMPLES:], labels[VALIDATION_SAMPLES:]


def validation() -> Split:
    """500 images that no training sees."""
    inputs, labels = _samples()
    return inputs[:VALIDATION_SAMPLES], labels[:VALIDATION_SAMPLES]


def pixels() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Return the validation images as 8-bit gray pixels, as a PNG holds them."""
    inputs, labels = validation()
    return np.round(inputs[:, 0] * _PIXEL_MAX).astype(np.uint8), labels


def _samples() -> Split:
    digits = load_digits()
    # Through 8-bit pixels, so that an image and a tensor of the same digit are the same input.
    gray = np.round(digits.images * (_PIXEL_MAX / _INK_MAX))
    order = np.random.default_rng(_SPLIT_SEED).permutation(len(gray))
    inputs = (gray.astype(np.float32) / np.float32(_PIXEL_MAX))[order, None]
    return np.ascontiguousarray(inputs), digits.target[order].astype(np.int64)
