"""Boxes: formats, overlap, and the suppression of the weaker of two that show one object."""

from __future__ import annotations

import numpy as np

from drupelet_shared.engines.base import Array


def to_corners(boxes: Array, box_format: str) -> Array:
    """Convert boxes (n, 4) to left, top, right, bottom.

    Args:
        boxes: Four numbers a box.
        box_format: "xyxy", "yxyx", "xywh" (corner and size) or "cxcywh" (centre and size).
    """
    if box_format == "xyxy":
        return boxes
    if box_format == "yxyx":
        return boxes[:, [1, 0, 3, 2]]
    first, sizes = boxes[:, :2], boxes[:, 2:]
    corner = first if box_format == "xywh" else first - sizes / 2
    return np.concatenate([corner, corner + sizes], axis=1)


def overlap_matrix(boxes: Array, others: Array) -> Array:
    """Return the intersection over union of every box (n, 4) with every other box (m, 4), both as corners: (n, m).

    A box without an area overlaps nothing.
    """
    left_top = np.maximum(boxes[:, None, :2], others[None, :, :2])
    right_bottom = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    intersection = np.prod(np.maximum(right_bottom - left_top, 0), axis=2)
    union = _areas(boxes)[:, None] + _areas(others)[None, :] - intersection
    overlap: Array = np.divide(intersection, union, out=np.zeros_like(intersection), where=union > 0)
    return overlap


def suppress_overlaps(
    boxes: Array, scores: Array, classes: Array, *, iou_threshold: float, class_aware: bool, most: int
) -> Array:
    """Greedy non-maximum suppression.

    Args:
        boxes: Shape (n, 4), as corners.
        scores: Shape (n,).
        classes: Shape (n,).
        iou_threshold: A box that overlaps a better one by more is dropped; 1 drops none.
        class_aware: Whether boxes of different classes never suppress each other.
        most: The number of boxes to keep.

    Returns:
        The positions of the boxes that stay, best first.
    """
    order: Array = np.argsort(-scores, kind="stable")
    if iou_threshold >= 1:
        return order[:most]
    boxes, classes = boxes[order], classes[order]
    hides = overlap_matrix(boxes, boxes) > iou_threshold
    if class_aware:
        hides &= classes[:, None] == classes[None, :]
    stays = np.ones(len(order), dtype=bool)
    kept: list[int] = []
    for position in range(len(order)):
        if not stays[position]:
            continue
        kept.append(position)
        if len(kept) == most:
            break
        stays &= ~hides[position]
    chosen: Array = order[kept]
    return chosen


def _areas(boxes: Array) -> Array:
    areas: Array = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1)
    return areas
