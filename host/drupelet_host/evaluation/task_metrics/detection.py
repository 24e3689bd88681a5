"""Mean average precision, as the COCO evaluation defines it (Lin et al., 2014): all areas, 100 detections an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from drupelet_host.data.labels import Labels
from drupelet_host.data.samples import Tensors
from drupelet_host.errors import DataError
from drupelet_shared.engines.base import Array
from drupelet_shared.errors import InferenceFailedError
from drupelet_shared.postprocessing.boxes import overlap_matrix
from drupelet_shared.postprocessing.candidates import Candidates
from drupelet_shared.postprocessing.detection import detect
from drupelet_shared.postprocessing.specs import Detection

# The precision is averaged over these recalls.
_RECALLS = np.linspace(0, 1, 101)
OVERLAPS: Final = {"map50": (0.5,), "map50_95": tuple(percent / 100 for percent in range(50, 100, 5))}
_LOWEST_SCORE, _MOST_DETECTIONS = 0.001, 100


@dataclass(frozen=True, slots=True)
class MeanAveragePrecision:
    """The mean over classes, and over several overlaps, of the average precision.

    Attributes:
        detection: What the outputs hold; its threshold on the score is replaced by 0.001.
        size: Height and width of the model's input, which boxes are in pixels of.
        overlaps: The lowest intersections over union at which a detection counts as right; the mean is over these.
        priors: The prior boxes of form "ssd".
        name: The metric's name in reports.
    """

    detection: Detection
    size: tuple[int, int]
    overlaps: Sequence[float] = OVERLAPS["map50_95"]
    priors: Array | None = field(default=None, repr=False)
    name: str = "map50_95"

    def score(self, answers: Sequence[Tensors], *, labels: Labels | None, expected: Sequence[Tensors]) -> float:  # noqa: ARG002 - the protocol's
        """Compute the mean average precision; see `Metric.score`.

        Args:
            answers: The model's outputs for each sample by name.
            labels: Objects of each sample, shape (samples, n, 5): class, left, top, right, bottom; class -1 is none.
            expected: Not used.

        Returns:
            The value from 0 to 1.

        Raises:
            DataError: The data has no boxes.
        """
        if labels is None or not labels.size or (labels[:, :, 0] < 0).all():
            raise DataError(f"{self.name} needs objects: the data has none in {len(answers)} samples")
        detection = self.detection.model_copy(
            update={"score_threshold": _LOWEST_SCORE, "max_detections": _MOST_DETECTIONS}
        )
        detections = [self._detect(answer, detection) for answer in answers]
        return mean_average_precision(detections, [image[image[:, 0] >= 0] for image in labels], self.overlaps)

    def _detect(self, answer: Tensors, detection: Detection) -> Candidates:
        try:
            return detect(answer, detection, size=self.size, priors=self.priors)
        except InferenceFailedError:
            # An answer of NaN finds nothing.
            return Candidates(np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64))


def mean_average_precision(
    detections: Sequence[Candidates], objects: Sequence[Array], overlaps: Sequence[float]
) -> float:
    """Compute the mean over classes that occur and over overlaps.

    Args:
        detections: The detections of each image, best first.
        objects: The objects of each image, shape (n, 5): class, left, top, right, bottom.
        overlaps: The lowest intersections over union at which a detection counts as right.

    Returns:
        The value from 0 to 1.
    """
    classes = np.unique(np.concatenate([image[:, 0] for image in objects])).astype(np.int64)
    return float(np.mean([_average_precisions(detections, objects, overlaps, label=label) for label in classes]))


def _average_precisions(
    detections: Sequence[Candidates], objects: Sequence[Array], overlaps: Sequence[float], *, label: int
) -> list[float]:
    """Return the average precision of one class at each overlap."""
    total, scores, hits = 0, [], []
    for candidates, image in zip(detections, objects, strict=True):
        boxes, mine = image[image[:, 0] == label, 1:], candidates.classes == label
        shares = overlap_matrix(candidates.boxes[mine], boxes)
        total += len(boxes)
        scores.append(candidates.scores[mine])
        hits.append(np.stack([_match(shares, overlap=overlap) for overlap in overlaps]))
    order = np.argsort(-np.concatenate(scores), kind="stable")
    return [_average_precision(row[order], total=total) for row in np.concatenate(hits, axis=1)]


def _average_precision(hits: Array, *, total: int) -> float:
    """Return the mean precision over recalls from hits, best detection first."""
    right = np.cumsum(hits)
    precision = right / np.arange(1, len(right) + 1)
    # The best precision at this recall or a higher one.
    envelope = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    return float(envelope[np.searchsorted(right / total, _RECALLS, side="left")].mean())


def _match(shares: Array, *, overlap: float) -> Array:
    """Tell which detections, best first, overlap an object enough that no better one has found.

    Args:
        shares: The intersection over union of each detection with each object.
        overlap: The lowest that counts.
    """
    hits = np.zeros(len(shares), dtype=bool)
    free = shares.copy()
    for position in np.flatnonzero((shares >= overlap).any(axis=1)):
        best = int(free[position].argmax())
        if free[position, best] >= overlap:
            hits[position] = True
            free[:, best] = -1.0
    return hits
