"""Detection: boxes in pixels of the image that was sent, with scores and labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from drupelet_shared.engines.base import Array, Tensors
from drupelet_shared.errors import InferenceFailedError
from drupelet_shared.postprocessing.boxes import suppress_overlaps
from drupelet_shared.postprocessing.candidates import Candidates, read_candidates
from drupelet_shared.postprocessing.geometry import ImageGeometry
from drupelet_shared.postprocessing.labels import label_classes
from drupelet_shared.postprocessing.specs import Detection

# Suppression compares all pairs: 1000 boxes take 4 MB a matrix.
_MOST_CANDIDATES = 1000


def detect(outputs: Tensors, detection: Detection, *, size: tuple[int, int], priors: Array | None = None) -> Candidates:
    """Find the objects of one image: threshold, then non-maximum suppression.

    Args:
        outputs: The model's outputs by name.
        detection: What they hold, and the thresholds.
        size: Height and width of the model's input.
        priors: The prior boxes of form "ssd", shape (n, 4).

    Returns:
        At most `max_detections` objects, best first, in pixels of the model's input.

    Raises:
        InferenceFailedError: An output has another shape than its form, or holds NaN or infinity.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        candidates = read_candidates(outputs, detection, size=size, priors=priors)
    if np.isnan(candidates.scores).any() or np.isposinf(candidates.scores).any():
        raise InferenceFailedError(f"outputs {', '.join(map(repr, detection.outputs))}: a score is NaN or infinite")
    best = np.flatnonzero(candidates.scores >= detection.score_threshold)
    if len(best) > _MOST_CANDIDATES:
        best = best[np.argsort(-candidates.scores[best], kind="stable")[:_MOST_CANDIDATES]]
    boxes, scores, classes = candidates.boxes[best], candidates.scores[best], candidates.classes[best]
    if not np.isfinite(boxes).all():
        raise InferenceFailedError(f"outputs {', '.join(map(repr, detection.outputs))}: a box is NaN or infinite")
    kept = suppress_overlaps(
        boxes,
        scores,
        classes,
        # What the graph has suppressed stays as it is.
        iou_threshold=1.0 if detection.form == "nms" else detection.iou_threshold,
        class_aware=detection.class_aware,
        most=detection.max_detections,
    )
    return Candidates(boxes[kept], scores[kept], classes[kept])


def labelled_boxes(candidates: Candidates, geometry: ImageGeometry, *, labels: Sequence[str]) -> dict[str, Array]:
    """Convert objects to the answer for the image that was sent.

    Args:
        candidates: The objects, in pixels of the model's input.
        geometry: How the image was fitted into the model's input.
        labels: The label of each class.

    Returns:
        `boxes` (FP32, [k, 4]: left, top, right, bottom in pixels of the upright image), `labels` (BYTES, [k]), `scores`
        (FP32, [k]) and `indices` (INT64, [k]), best first. Boxes that lie outside the image are left out.
    """
    boxes = geometry.boxes_to_image(candidates.boxes)
    inside = ((boxes[:, 2:] - boxes[:, :2]) > 0).all(axis=1)
    indices = candidates.classes[inside].astype(np.int64)
    return {
        "boxes": boxes[inside],
        "labels": label_classes(indices, labels),
        "scores": candidates.scores[inside].astype(np.float32),
        "indices": indices,
    }
