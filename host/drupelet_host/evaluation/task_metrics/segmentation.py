"""Mean intersection over union of a segmentation model's classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from drupelet_host.data.labels import Labels
from drupelet_host.data.samples import Tensors
from drupelet_host.errors import DataError
from drupelet_shared.engines.base import Array
from drupelet_shared.errors import InferenceFailedError
from drupelet_shared.postprocessing.segmentation import class_map
from drupelet_shared.postprocessing.specs import Segmentation

_MASKS_RANK = 3
_NO_CLASS = 255


@dataclass(frozen=True, slots=True)
class MeanIntersectionOverUnion:
    """The mean over the classes that occur, each over all pixels of all samples.

    Attributes:
        segmentation: What the output holds.
        name: The metric's name in reports.
    """

    segmentation: Segmentation
    name: str = "mean_iou"

    def score(self, answers: Sequence[Tensors], *, labels: Labels | None, expected: Sequence[Tensors]) -> float:  # noqa: ARG002 - the protocol's
        """Compute the mean intersection over union; see `Metric.score`.

        Args:
            answers: The model's outputs for each sample by name.
            labels: The class of each pixel, shape (samples, height, width); 255 and negative ones do not count.
            expected: Not used.

        Returns:
            The value from 0 to 1.

        Raises:
            DataError: The data has no masks, or no pixel that counts.
        """
        if labels is None or labels.ndim != _MASKS_RANK:
            shape = None if labels is None else list(labels.shape)
            raise DataError(f"{self.name} needs masks (samples, height, width): the labels have shape {shape}")
        pairs = [self._compare(answer, mask) for answer, mask in zip(answers, labels, strict=True)]
        predicted, true = (np.concatenate(part) for part in zip(*pairs, strict=True))
        if not len(true):
            raise DataError(f"{self.name}: no pixel of the masks has a class")
        classes = int(max(predicted.max(), true.max())) + 1
        counts = np.bincount(true * classes + predicted, minlength=classes**2).reshape(classes, classes)
        right = np.diag(counts)
        union = counts.sum(axis=0) + counts.sum(axis=1) - right
        return float((right[union > 0] / union[union > 0]).mean())

    def _compare(self, answer: Tensors, mask: Array) -> tuple[Array, Array]:
        """Return the predicted and the true class of each pixel that counts."""
        counted = (mask >= 0) & (mask != _NO_CLASS)
        try:
            classes = class_map(answer, self.segmentation)
        except InferenceFailedError:
            # An answer of NaN is right nowhere: it gets a class that no mask has.
            return np.full(int(counted.sum()), int(mask.max(initial=0)) + 1), mask[counted]
        rows, columns = (np.arange(size) * has // size for size, has in zip(mask.shape, classes.shape, strict=True))
        return classes[rows][:, columns][counted], mask[counted]
