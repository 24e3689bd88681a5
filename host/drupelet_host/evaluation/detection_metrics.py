"""Mean average precision, as the COCO evaluation defines it (Lin et al., 2014): all areas, 100 detections an image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
        found = [self._detect(answer, detection) for answer in answers]
        return mean_average_precision(found, [image[image[:, 0] >= 0] for image in labels], self.overlaps)

    def _detect(self, answer: Tensors, detection: Detection) -> Candidates:
        try:
            return detect(answer, detection, size=self.size, priors=self.priors)
        except InferenceFailedError:
            # An answer of NaN finds nothing.
            return Candidates(np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64))


def mean_average_precision(found: Sequence[Candidates], objects: Sequence[Array], overlaps: Iterable[float]) -> float:
    """Compute the mean over classes that occur and over overlaps.

    Args:
        found: The detections of each image, best first.
        objects: The objects of each image, shape (n, 5): class, left, top, right, bottom.
        overlaps: The lowest intersections over union at which a detection counts as right.
    """
    classes = np.unique(np.concatenate([image[:, 0] for image in objects])).astype(np.int64)
    precisions = [
        _average_precision(found, objects, label=label, overlap=overlap) for label in classes for overlap in overlaps
    ]
    return float(np.mean(precisions))


def _average_precision(found: Sequence[Candidates], objects: Sequence[Array], *, label: int, overlap: float) -> float:
    scores, hits = [], []
    for candidates, image in zip(found, objects, strict=True):
        mine = candidates.classes == label
        scores.append(candidates.scores[mine])
        hits.append(_match(candidates.boxes[mine], image[image[:, 0] == label, 1:], overlap=overlap))
    total = sum(int((image[:, 0] == label).sum()) for image in objects)
    order = np.argsort(-np.concatenate(scores), kind="stable")
    right = np.cumsum(np.concatenate(hits)[order])
    recall = right / total
    precision = right / np.arange(1, len(right) + 1)
    # The best precision at this recall or a higher one.
    envelope = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    return float(envelope[np.searchsorted(recall, _RECALLS, side="left")].mean())


def _match(boxes: Array, objects: Array, *, overlap: float) -> Array:
    """Tell which boxes, best first, find an object that no better one has found."""
    hits = np.zeros(len(boxes), dtype=bool)
    shares = overlap_matrix(boxes, objects)
    for position in range(len(boxes)):
        if not shares.shape[1]:
            break
        best = int(shares[position].argmax())
        if shares[position, best] >= overlap:
            hits[position] = True
            shares[:, best] = -1.0
    return hits
