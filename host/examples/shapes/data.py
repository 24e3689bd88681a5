"""Pictures of circles, squares and crosses, drawn as they are needed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

SIZE = 16
LABELS = ("circle", "square", "cross")

Split = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]


def train() -> Split:
    """1500 pictures, (1500, 1, 16, 16) from 0 to 1, and their labels."""
    return draw(1500, seed=0)


def validation() -> Split:
    """600 pictures that no training sees."""
    return draw(600, seed=1)


def draw(count: int, *, seed: int) -> Split:
    """Shapes of random size and place, under noise."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, len(LABELS), count)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    y, x = (random.uniform(5, 10, (count, 1, 1)) for _ in range(2))
    radius = random.uniform(2.5, 5, (count, 1, 1))
    across, down = np.abs(columns - x), np.abs(rows - y)
    circle = np.abs(np.hypot(across, down) - radius) < 1
    square = np.abs(np.maximum(across, down) - radius) < 1
    cross = (np.minimum(across, down) < 1) & (np.maximum(across, down) < radius)
    shapes = np.choose(labels[:, None, None], [circle, square, cross])
    noisy = 0.7 * shapes + 0.3 * random.random((count, SIZE, SIZE))
    return noisy[:, None].astype(np.float32), labels.astype(np.int64)
