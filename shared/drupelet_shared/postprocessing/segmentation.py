"""Segmentation: a class map of the size of the image that was sent."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from drupelet_shared.engines.base import Array, Tensors
from drupelet_shared.errors import InferenceFailedError
from drupelet_shared.postprocessing.geometry import ImageGeometry
from drupelet_shared.postprocessing.labels import activate, label_classes
from drupelet_shared.postprocessing.specs import Segmentation

_PLANE_RANK, _MAPS_RANK = 3, 4
_LARGEST_BYTE = 254
# As UINT16 holds them, beside the value of pixels that the model did not see.
_LARGEST_CLASS = 65534
_COUNTED_AT_ONCE = 1 << 18


def class_map(outputs: Tensors, segmentation: Segmentation) -> Array:
    """Return the class of each pixel of the model's output, INT64 of shape (height, width).

    Raises:
        InferenceFailedError: The output has another shape than the post-processing says, a score is NaN, or a class is
            negative, NaN or above 65534.
    """
    values = outputs[segmentation.output]
    if not values.size:
        raise _unexpected(segmentation, values, "at least one pixel")
    if segmentation.values == "classes":
        # One channel at most, wherever it stands.
        if values.ndim not in {2, _PLANE_RANK, _MAPS_RANK} or values.size != np.prod(_plane(values, segmentation)):
            raise _unexpected(segmentation, values, "[1, height, width]")
        plane = values.reshape(_plane(values, segmentation))
        lowest, highest = plane.min(), plane.max()
        if not (lowest >= 0 and highest <= _LARGEST_CLASS):  # false for NaN too
            raise InferenceFailedError(
                f"output {segmentation.output!r}: classes from {lowest} to {highest}: expected 0 to {_LARGEST_CLASS}"
            )
        return plane.astype(np.int64)
    if values.ndim == _PLANE_RANK:
        values = values[None]
    if values.ndim != _MAPS_RANK or values.shape[0] != 1:
        raise _unexpected(segmentation, values, f"[1, classes, height, width] in layout {segmentation.layout}")
    channel_axis = 0 if segmentation.layout == "NCHW" else 2
    scores = values[0].astype(np.float32, copy=False)
    if np.isnan(scores).any():
        raise InferenceFailedError(f"output {segmentation.output!r}: a score is NaN")
    if scores.shape[channel_axis] == 1:
        plane = scores.squeeze(channel_axis)
        return (activate(plane, segmentation.activation) >= segmentation.threshold).astype(np.int64)
    classes: Array = scores.argmax(axis=channel_axis)
    return classes


def labelled_class_map(classes: Array, geometry: ImageGeometry, *, labels: Sequence[str]) -> dict[str, Array]:
    """Convert a class map to the answer for the image that was sent.

    Args:
        classes: Shape (height, width), of the model's output, which may be smaller than its input.
        geometry: How the image was fitted into the model's input.
        labels: The label of each class.

    Returns:
        `classes` (UINT8, or UINT16 beyond 255 classes; [height, width] of the upright image; the datatype's highest
        value where the model saw nothing of the image, which only the resize "crop" leads to), and for each class that
        occurs, largest first: `labels` (BYTES, [k]), `fractions` of the image (FP32, [k]) and `indices` (INT64, [k]).
    """
    dtype = np.uint8 if max(len(labels) - 1, int(classes.max(initial=0))) <= _LARGEST_BYTE else np.uint16
    unseen = np.iinfo(dtype).max
    rows, columns = (
        _scaled(axis.source_pixels(), pixels=pixels, of=axis.tensor_size)
        for axis, pixels in ((geometry.y, classes.shape[0]), (geometry.x, classes.shape[1]))
    )
    # Two gathers of one axis each need no index of the size of the image.
    image = classes.astype(dtype)[rows][:, columns]
    image[rows < 0] = unseen
    image[:, columns < 0] = unseen
    counts = _count_classes(image)
    indices = np.argsort(-counts, kind="stable")[: int((counts > 0).sum())].astype(np.int64)
    indices = indices[indices != unseen]
    return {
        "classes": image,
        "labels": label_classes(indices, labels),
        "fractions": (counts[indices] / max(1, image.size)).astype(np.float32),
        "indices": indices,
    }


def _count_classes(image: Array) -> Array:
    """Return how many pixels each value has, some rows at a time: `bincount` takes 8 bytes for each pixel."""
    counts = np.zeros(int(image.max(initial=0)) + 1, np.int64)
    rows = max(1, _COUNTED_AT_ONCE // max(1, image.shape[1]))
    for start in range(0, len(image), rows):
        counts += np.bincount(image[start : start + rows].ravel(), minlength=len(counts))
    return counts


def _scaled(sources: Array, *, pixels: int, of: int) -> Array:
    """Convert pixels of the model's input to those of its output; -1 stays."""
    return np.where(sources < 0, -1, sources * pixels // of)


def _plane(values: Array, segmentation: Segmentation) -> tuple[int, ...]:
    if values.ndim == _MAPS_RANK and segmentation.layout == "NHWC":
        return values.shape[1:3]
    return values.shape[-2:]


def _unexpected(segmentation: Segmentation, values: Array, expected: str) -> InferenceFailedError:
    return InferenceFailedError(f"output {segmentation.output!r} has shape {list(values.shape)}: expected {expected}")
