from __future__ import annotations

import numpy as np
import pytest

from drupelet_host.errors import DataError
from drupelet_host.evaluation.task_metrics.segmentation import MeanIntersectionOverUnion
from drupelet_shared.postprocessing.specs import Segmentation

METRIC = MeanIntersectionOverUnion(Segmentation(output="y", values="classes"))


def test_the_mean_is_over_classes_whose_pixels_are_counted_over_all_samples() -> None:
    masks = np.array([[[0, 0], [1, 1]], [[0, 0], [0, 1]]])
    answers = [{"y": np.array([[[0, 0], [0, 1]]])}, {"y": np.array([[[0, 0], [0, 1]]])}]
    # Class 0: 5 of 6 pixels; class 1: 2 of 3.
    assert METRIC.score(answers, labels=masks, expected=()) == pytest.approx((5 / 6 + 2 / 3) / 2)


def test_a_class_that_is_only_predicted_counts_as_missed() -> None:
    answers = [{"y": np.array([[[0, 2]]])}]
    assert METRIC.score(answers, labels=np.array([[[0, 0]]]), expected=()) == pytest.approx((0.5 + 0) / 2)


def test_pixels_without_a_class_do_not_count() -> None:
    answers = [{"y": np.array([[[0, 1, 1]]])}]
    assert METRIC.score(answers, labels=np.array([[[0, 255, -1]]]), expected=()) == 1.0


def test_an_output_of_half_the_size_covers_four_pixels_each() -> None:
    answers = [{"y": np.array([[[0, 1]]])}]
    masks = np.array([[[0, 0, 1, 1], [0, 0, 1, 1]]])
    assert METRIC.score(answers, labels=masks, expected=()) == 1.0


def test_nan_is_right_nowhere() -> None:
    metric = MeanIntersectionOverUnion(Segmentation(output="y"))
    answers = [{"y": np.full((1, 2, 1, 2), np.nan, np.float32)}]
    assert metric.score(answers, labels=np.array([[[0, 1]]]), expected=()) == 0.0


@pytest.mark.parametrize("labels", [None, np.array([0, 1]), np.full((1, 1, 1), 255)])
def test_masks_with_classes_are_needed(labels: np.ndarray | None) -> None:
    with pytest.raises(DataError, match="mean_iou"):
        METRIC.score([{"y": np.zeros((1, 1, 1))}], labels=labels, expected=())
