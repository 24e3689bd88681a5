"""The candidates of a detector: boxes and class scores, read from the outputs of each form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from drupelet_shared.engines.base import Array, Tensors
from drupelet_shared.errors import InferenceFailedError
from drupelet_shared.postprocessing.boxes import to_corners
from drupelet_shared.postprocessing.labels import activate
from drupelet_shared.postprocessing.specs import Detection

_BOX = 4
_OBJECTNESS = 1
_SUPPRESSED_COLUMNS = 6
# Index in the batch, corners, class, score.
_BATCHED_COLUMNS = 7
_ROWS_RANK, _MAPS_RANK = 2, 4
_COUNT_POSITION = 3
# Offsets of a size go through the exponential; e^60 times any prior is far outside every image.
_LARGEST_EXPONENT = 60.0
# The largest whole number below which float32 holds every other.
_LARGEST_CLASS = 2**24


@dataclass(frozen=True, slots=True)
class Candidates:
    """Boxes with the best class of each.

    Attributes:
        boxes: Shape (n, 4): left, top, right, bottom in pixels of the model's input.
        scores: Shape (n,).
        classes: Shape (n,).
    """

    boxes: Array
    scores: Array
    classes: Array


def read_candidates(
    outputs: Tensors, detection: Detection, *, size: tuple[int, int], priors: Array | None
) -> Candidates:
    """Read the outputs of one image.

    Args:
        outputs: The model's outputs by name.
        detection: What they hold.
        size: Height and width of the model's input.
        priors: The prior boxes (n, 4) of form "ssd": centre and size as fractions.

    Returns:
        All candidates, whatever their score.

    Raises:
        InferenceFailedError: An output has another shape than its form.
    """
    if detection.form == "nms":
        return _suppressed(outputs, detection, size=size)
    if detection.form == "yolov5":
        boxes, scores = _yolov5(outputs, detection)
    elif detection.form == "yolov8":
        boxes, scores = _yolov8(outputs, detection)
    elif detection.form == "yolov8-dfl":
        boxes, scores = _distances(outputs, detection, size=size)
    elif detection.form == "ssd":
        boxes, scores = _offsets(outputs, detection, size=size, priors=priors)
    else:
        boxes, scores = _boxes_and_scores(outputs, detection, size=size)
    return _best_classes(boxes, scores, detection)


def _yolov5(outputs: Tensors, detection: Detection) -> tuple[Array, Array]:
    (name,) = detection.outputs
    rows = _rows(
        outputs, name, transposed=detection.transposed, least=_BOX + _OBJECTNESS + 1, form="(1, N, 5 + classes)"
    )
    scores = activate(rows[:, _BOX:], detection.activation)
    return to_corners(rows[:, :_BOX], "cxcywh"), scores[:, _OBJECTNESS:] * scores[:, :_OBJECTNESS]


def _yolov8(outputs: Tensors, detection: Detection) -> tuple[Array, Array]:
    (name,) = detection.outputs
    rows = _rows(outputs, name, transposed=not detection.transposed, least=_BOX + 1, form="(1, 4 + classes, N)")
    return to_corners(rows[:, :_BOX], "cxcywh"), activate(rows[:, _BOX:], detection.activation)


def _distances(outputs: Tensors, detection: Detection, *, size: tuple[int, int]) -> tuple[Array, Array]:
    """Decode distances to the four sides, each the mean of a distribution (Li et al., 2020, Generalized Focal Loss)."""
    sides = _BOX * detection.bins
    grids = [(-(-size[0] // stride), -(-size[1] // stride)) for stride in detection.strides]
    if len(detection.outputs) == len(grids) and outputs[detection.outputs[0]].ndim == _MAPS_RANK:
        levels = [
            _level(outputs, name, sides=sides, grid=grid) for name, grid in zip(detection.outputs, grids, strict=True)
        ]
        rows = np.concatenate(levels)
    else:
        name = detection.outputs[0]
        form = f"(1, {sides} + classes, N)"
        rows = _rows(outputs, name, transposed=not detection.transposed, least=sides + 1, form=form)
    centres, strides = _cell_centres(grids, detection.strides)
    if len(rows) != len(centres):
        raise _unexpected(detection.outputs[0], outputs, f"{len(centres)} cells for strides {list(detection.strides)}")
    distributions = activate(rows[:, :sides].reshape(len(rows), _BOX, detection.bins), "softmax")
    distances = distributions @ np.arange(detection.bins, dtype=np.float32)
    corners = np.concatenate([centres - distances[:, :2], centres + distances[:, 2:]], axis=1) * strides
    return corners, activate(rows[:, sides:], detection.activation)


def _level(outputs: Tensors, name: str, *, sides: int, grid: tuple[int, int]) -> Array:
    """Return the output of one stride as (cells, columns)."""
    maps = _floats(outputs, name)
    if maps.ndim != _MAPS_RANK or maps.shape[0] != 1 or maps.shape[1] <= sides or maps.shape[2:] != grid:
        raise _unexpected(name, outputs, f"[1, {sides} + classes, {grid[0]}, {grid[1]}]")
    return maps.reshape(maps.shape[1], -1).T


def _cell_centres(grids: Sequence[tuple[int, int]], strides: Sequence[int]) -> tuple[Array, Array]:
    """Return the centre of each cell in cells, and the stride of its grid."""
    centres, sizes = [], []
    for (height, width), stride in zip(grids, strides, strict=True):
        y, x = np.mgrid[:height, :width].astype(np.float32) + np.float32(0.5)
        centres.append(np.stack([x.ravel(), y.ravel()], axis=1))
        sizes.append(np.full((height * width, 1), stride, np.float32))
    return np.concatenate(centres), np.concatenate(sizes)


def _offsets(
    outputs: Tensors, detection: Detection, *, size: tuple[int, int], priors: Array | None
) -> tuple[Array, Array]:
    """Decode offsets from prior boxes (Liu et al., 2016, SSD)."""
    offsets, scores = _pair(outputs, detection)
    if priors is None or priors.shape != offsets.shape:
        shape = None if priors is None else list(priors.shape)
        raise _unexpected(detection.outputs[0], outputs, f"one box for each prior, which have shape {shape}")
    centre_scale, size_scale = detection.variances
    centres = priors[:, :2] + offsets[:, :2] * np.float32(centre_scale) * priors[:, 2:]
    sizes = priors[:, 2:] * np.exp(np.minimum(offsets[:, 2:] * np.float32(size_scale), _LARGEST_EXPONENT))
    boxes = to_corners(np.concatenate([centres, sizes], axis=1), "cxcywh")
    return boxes * _sides(size), scores


def _boxes_and_scores(outputs: Tensors, detection: Detection, *, size: tuple[int, int]) -> tuple[Array, Array]:
    boxes, scores = _pair(outputs, detection)
    return _in_pixels(boxes, detection, size=size), scores


def _pair(outputs: Tensors, detection: Detection) -> tuple[Array, Array]:
    boxes_name, scores_name = detection.outputs
    transposed = detection.transposed
    boxes = _rows(outputs, boxes_name, transposed=transposed, least=_BOX, form="(1, N, 4)")
    scores = _rows(outputs, scores_name, transposed=transposed, least=1, form="(1, N, classes)")
    if boxes.shape[1] != _BOX:
        raise _unexpected(boxes_name, outputs, "(1, N, 4)")
    if len(scores) != len(boxes):
        raise _unexpected(scores_name, outputs, f"scores for {len(boxes)} boxes")
    return boxes, activate(scores, detection.activation)


def _suppressed(outputs: Tensors, detection: Detection, *, size: tuple[int, int]) -> Candidates:
    if len(detection.outputs) == 1:
        (name,) = detection.outputs
        rows = _rows(outputs, name, transposed=detection.transposed, least=_SUPPRESSED_COLUMNS, form="(1, K, 6)")
        if rows.shape[1] == _BATCHED_COLUMNS:
            boxes, classes, scores = rows[:, 1:5], rows[:, 5], rows[:, 6]
        elif rows.shape[1] == _SUPPRESSED_COLUMNS:
            boxes, scores, classes = rows[:, :4], rows[:, 4], rows[:, 5]
        else:
            raise _unexpected(name, outputs, "(1, K, 6) or (K, 7)")
    else:
        boxes_name, scores_name, classes_name = detection.outputs[:3]
        boxes = _rows(outputs, boxes_name, transposed=False, least=_BOX, form="(1, K, 4)")
        scores, classes = (_floats(outputs, each).reshape(-1) for each in (scores_name, classes_name))
        if boxes.shape[1] != _BOX or not len(boxes) == len(scores) == len(classes):
            raise _unexpected(boxes_name, outputs, f"(1, K, 4) for {len(scores)} scores and {len(classes)} classes")
        if len(detection.outputs) > _COUNT_POSITION:
            count = _read_count(outputs, detection.outputs[_COUNT_POSITION], most=len(boxes))
            boxes, scores, classes = boxes[:count], scores[:count], classes[:count]
    if not np.isfinite(classes[scores >= detection.score_threshold]).all():
        raise InferenceFailedError(f"outputs {', '.join(map(repr, detection.outputs))}: a class is NaN or infinite")
    indices = np.nan_to_num(classes, nan=-1, posinf=-1, neginf=-1).clip(-1, _LARGEST_CLASS).astype(np.int64)
    # Graphs of a fixed number of rows fill those without an object with the class -1.
    objects = indices >= 0
    if detection.background is not None:
        objects &= indices != detection.background
    return Candidates(_in_pixels(boxes, detection, size=size)[objects], scores[objects], indices[objects])


def _read_count(outputs: Tensors, name: str, *, most: int) -> int:
    """Return how many of the rows hold an object."""
    values = _floats(outputs, name).reshape(-1)
    if len(values) != 1 or not np.isfinite(values).all():
        raise InferenceFailedError(
            f"output {name!r} has shape {list(outputs[name].shape)} and values {values[:4].tolist()}: expected one "
            "finite number, the count of objects"
        )
    return int(values.clip(0, most)[0])


def _best_classes(boxes: Array, scores: Array, detection: Detection) -> Candidates:
    if detection.background is not None and detection.background < scores.shape[1]:
        scores = scores.copy()
        scores[:, detection.background] = -np.inf
    classes = scores.argmax(axis=1)
    return Candidates(boxes, scores[np.arange(len(scores)), classes], classes)


def _in_pixels(boxes: Array, detection: Detection, *, size: tuple[int, int]) -> Array:
    corners = to_corners(boxes, detection.box_format)
    return corners * _sides(size) if detection.box_unit == "fraction" else corners


def _sides(size: tuple[int, int]) -> Array:
    height, width = size
    return np.array([width, height, width, height], np.float32)


def _rows(outputs: Tensors, name: str, *, transposed: bool, least: int, form: str) -> Array:
    """Return an output as (candidates, columns)."""
    values = _floats(outputs, name)
    if values.ndim < _ROWS_RANK or any(size != 1 for size in values.shape[:-_ROWS_RANK]):
        raise _unexpected(name, outputs, form)
    rows: Array = values.reshape(values.shape[-_ROWS_RANK:])
    rows = rows.T if transposed else rows
    if rows.shape[1] < least:
        raise _unexpected(name, outputs, form)
    return rows


def _floats(outputs: Tensors, name: str) -> Array:
    return outputs[name].astype(np.float32, copy=False)


def _unexpected(name: str, outputs: Tensors, expected: str) -> InferenceFailedError:
    return InferenceFailedError(f"output {name!r} has shape {list(outputs[name].shape)}: expected {expected}")
