"""Labels: class indices, masks, objects or numbers, as the task needs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from drupelet_host.errors import DataError

# Class indices (samples,), masks (samples, height, width), objects (samples, n, 5), or numbers of any shape.
Labels = npt.NDArray[Any]
_BOX = 4
_OBJECT_COLUMNS = 5
_OBJECTS_RANK, _MASKS_RANK = 3, 3
NO_OBJECT, NO_CLASS = -1, 255


def make_labels(value: Any, *, count: int, source: str) -> Labels:  # noqa: ANN401 - whatever a person's factory returned
    """Check and convert the labels of `count` samples; numbers keep their kind.

    Objects are one dictionary for each sample, as torchvision has them: `boxes` (n, 4), left, top, right and bottom in
    pixels of the model's input, and `labels` (n,).

    Args:
        value: What a factory returned.
        count: The number of samples.
        source: The name of the data, for messages.

    Returns:
        Integers (INT64) or floats along the first axis; objects as (samples, most, 5): class, left, top, right, bottom,
        and class -1 where a sample has fewer.

    Raises:
        DataError: The labels are no numbers or objects, or their number differs from `count`.
    """
    if isinstance(value, Sequence) and len(value) and all(isinstance(item, Mapping) for item in value):
        labels = _stack_objects(value, source=source)
    else:
        labels = _to_numbers(value, source=source)
    if labels.ndim == 0 or len(labels) != count:
        raise DataError(f"{source}: labels have shape {labels.shape}: expected ({count}, ...), one for each input")
    return labels


def check_class_labels(labels: Labels, *, classes: int | None, source: str) -> None:
    """Check that every label is one of a classifier's classes.

    Args:
        labels: Class indices.
        classes: The number of classes of the model; None where it is not known.
        source: The name of the data, for messages.

    Raises:
        DataError: The labels are no class indices, or one is not a class of the model.
    """
    if labels.ndim != 1 or labels.dtype.kind != "i":
        raise DataError(
            f"{source}: labels are {labels.dtype} of shape {list(labels.shape)}: the task 'classification' takes one "
            "class index for each sample; set model.task to another name for other labels"
        )
    lowest, highest = int(labels.min()), int(labels.max())
    if classes is not None and (lowest < 0 or highest >= classes):
        raise DataError(
            f"{source}: labels go from {lowest} to {highest}: the model has {classes} classes, 0 to {classes - 1}"
        )


def check_verdicts(labels: Labels, *, source: str) -> None:
    """Check that the labels say of each sample whether it is an anomaly.

    Raises:
        DataError: They are something other than 0 and 1.
    """
    if labels.ndim != 1 or labels.dtype.kind != "i" or not set(labels.tolist()) <= {0, 1}:
        raise DataError(
            f"{source}: labels are {labels.dtype} of shape {list(labels.shape)}: an anomaly detector takes 0 for a "
            "normal sample and 1 for an anomaly"
        )


def check_objects(labels: Labels, *, size: tuple[int, int], classes: int | None, source: str) -> None:
    """Check that the labels are objects within the model's input.

    Args:
        labels: What `make_labels` returned.
        size: Height and width of the model's input.
        classes: The number of classes; None where it is not known.
        source: The name of the data, for messages.

    Raises:
        DataError: The labels are no objects, there is none, or a box or class is impossible.
    """
    if labels.ndim != _OBJECTS_RANK or labels.shape[2] != _OBJECT_COLUMNS:
        raise DataError(
            f"{source}: labels have shape {list(labels.shape)}: a detector takes a dictionary with boxes (n, 4) and "
            "labels (n,) for each sample"
        )
    rows = labels[labels[:, :, 0] >= 0]
    if not len(rows):
        raise DataError(f"{source}: no sample has an object")
    boxes, highest = rows[:, 1:], int(rows[:, 0].max())
    if (boxes[:, 2:] <= boxes[:, :2]).any():
        worst = boxes[(boxes[:, 2:] <= boxes[:, :2]).any(axis=1)][0].tolist()
        raise DataError(f"{source}: box {worst} has no area: expected left, top, right, bottom in pixels")
    height, width = size
    if boxes[:, 2].max() > width + 1 or boxes[:, 3].max() > height + 1 or boxes.min() < -1:
        right, bottom = boxes[:, 2].max(), boxes[:, 3].max()
        raise DataError(
            f"{source}: boxes go to {right:g} x {bottom:g}: expected pixels of the model's input, {width} x {height}"
        )
    if max(height, width) > 1 and boxes.max() <= 1:
        raise DataError(
            f"{source}: no box goes beyond 1: they look like fractions; expected pixels of the model's input, up to "
            f"{width} x {height}"
        )
    if classes and highest >= classes:
        raise DataError(
            f"{source}: objects have classes up to {highest}: model.labels has {classes}, 0 to {classes - 1}"
        )


def check_masks(labels: Labels, *, classes: int | None, source: str) -> None:
    """Check that the labels are masks of class indices.

    Args:
        labels: What `make_labels` returned.
        classes: The number of classes; None where it is not known.
        source: The name of the data, for messages.

    Raises:
        DataError: The labels are no masks, or a class is not the model's.
    """
    if labels.ndim != _MASKS_RANK or labels.dtype.kind != "i":
        raise DataError(
            f"{source}: labels are {labels.dtype} of shape {list(labels.shape)}: a segmentation model takes masks of "
            "class indices, (samples, height, width)"
        )
    highest = int(labels[labels != NO_CLASS].max(initial=0))
    if classes and highest >= classes:
        raise DataError(
            f"{source}: masks have classes up to {highest}: model.labels has {classes}, from 0; 255 does not count"
        )


def _to_numbers(value: Any, *, source: str) -> Labels:  # noqa: ANN401 - whatever a person's factory returned
    try:
        labels = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{source}: labels cannot become an array: {error}") from error
    if labels.dtype.kind in "biu":
        return np.ascontiguousarray(labels, dtype=np.int64)
    if labels.dtype.kind == "f":
        if not np.isfinite(labels).all():
            raise DataError(f"{source}: labels hold NaN or infinity: expected finite numbers")
        return np.ascontiguousarray(labels)
    raise DataError(
        f"{source}: labels are {labels.dtype}: expected class indices, masks, numbers, or for each sample a dictionary "
        "with boxes (n, 4) and labels (n,)"
    )


def _stack_objects(samples: Sequence[Mapping[str, Any]], *, source: str) -> Labels:
    objects = [_read_objects(sample, what=f"{source}: labels of sample {row}") for row, sample in enumerate(samples)]
    most = max(1, *(len(rows) for rows in objects))
    labels = np.zeros((len(objects), most, _OBJECT_COLUMNS), np.float32)
    labels[:, :, 0] = NO_OBJECT
    for place, rows in zip(labels, objects, strict=True):
        place[: len(rows)] = rows
    return labels


def _read_objects(sample: Mapping[str, Any], *, what: str) -> npt.NDArray[np.float32]:
    if not {"boxes", "labels"} <= set(sample):
        raise DataError(f"{what}: has {sorted(map(str, sample))}: expected 'boxes' and 'labels'")
    try:
        boxes = np.asarray(sample["boxes"], np.float32).reshape(-1, _BOX)
        classes = np.asarray(sample["labels"]).reshape(-1)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{what}: boxes are no array of shape (n, 4): {error}") from error
    if len(boxes) != len(classes):
        raise DataError(f"{what}: has {len(boxes)} boxes and {len(classes)} labels")
    if not np.isfinite(boxes).all() or (len(classes) and (classes.dtype.kind not in "iu" or classes.min() < 0)):
        raise DataError(f"{what}: expected finite boxes and class indices from 0")
    return np.concatenate([classes[:, None].astype(np.float32), boxes], axis=1)
