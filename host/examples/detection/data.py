"""Pictures with one to three circles, squares and crosses, drawn as they are needed, and where they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

SIZE = 64
LABELS = ("circle", "square", "cross")
MOST_OBJECTS = 3
_HALF_LINE = 1.5

Array = npt.NDArray[Any]
# For each picture `boxes` (n, 4), left, top, right and bottom in pixels, and `labels` (n,).
Objects = list[dict[str, Array]]
Split = tuple[npt.NDArray[np.float32], Objects]


def train() -> Split:
    """2000 pictures, (2000, 1, 64, 64) from 0 to 1, and their objects."""
    return draw(2000, seed=0)


def validation() -> Split:
    """400 pictures that no training sees."""
    return draw(400, seed=1)


def draw(count: int, *, seed: int) -> Split:
    """Shapes of random size and place that do not overlap, under noise."""
    random = np.random.default_rng(seed)
    pictures = np.empty((count, 1, SIZE, SIZE), np.float32)
    objects: Objects = []
    for picture in pictures:
        canvas = np.zeros((SIZE, SIZE), bool)
        boxes: list[list[float]] = []
        labels: list[int] = []
        for _ in range(random.integers(1, MOST_OBJECTS + 1)):
            radius = random.uniform(5, 12)
            x, y = random.uniform(radius + 1, SIZE - radius - 1, 2)
            box = [x - radius, y - radius, x + radius, y + radius]
            if any(_touches(box, other) for other in boxes):
                continue
            label = int(random.integers(len(LABELS)))
            canvas |= _shape(label, x=x, y=y, radius=radius)
            boxes.append(box)
            labels.append(label)
        picture[0] = 0.7 * canvas + 0.3 * random.random((SIZE, SIZE))
        objects.append({"boxes": np.array(boxes, np.float32), "labels": np.array(labels, np.int64)})
    return pictures, objects


def _shape(label: int, *, x: float, y: float, radius: float) -> npt.NDArray[np.bool_]:
    rows, columns = np.mgrid[:SIZE, :SIZE] + 0.5
    across, down = np.abs(columns - x), np.abs(rows - y)
    circle = np.abs(np.hypot(across, down) - radius + _HALF_LINE) < _HALF_LINE
    square = np.abs(np.maximum(across, down) - radius + _HALF_LINE) < _HALF_LINE
    cross = (np.minimum(across, down) < _HALF_LINE) & (np.maximum(across, down) < radius)
    shape: npt.NDArray[np.bool_] = (circle, square, cross)[label]
    return shape


def _touches(box: list[float], other: list[float]) -> bool:
    return box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3]
