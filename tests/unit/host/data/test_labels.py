from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from drupelet_host.data.labels import check_class_labels, check_masks, check_objects, make_labels
from drupelet_host.errors import DataError


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        ([0, 1], np.int64),
        (np.array([0, 1], np.uint8), np.int64),
        (torch.tensor([0, 1], dtype=torch.int32), np.int64),
        (np.array([True, False]), np.int64),
        ([0.5, 1.5], np.float64),
        (np.zeros((2, 3), np.float32), np.float32),
        (np.zeros((2, 4, 4), np.uint8), np.int64),
    ],
)
def test_numbers_keep_their_kind_and_shape(value: Any, dtype: type) -> None:  # noqa: ANN401 - what a factory may return
    labels = make_labels(value, count=2, source="data")
    assert labels.dtype == dtype
    assert labels.shape == np.asarray(value).shape
    np.testing.assert_array_equal(labels, np.asarray(value))


def test_objects_are_stacked_with_class_minus_one_where_there_are_fewer() -> None:
    samples = [
        {"boxes": torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8]]), "labels": [2, 0]},
        {"boxes": np.zeros((0, 4)), "labels": []},
    ]
    labels = make_labels(samples, count=2, source="data")
    assert labels.tolist() == [[[2, 1, 2, 3, 4], [0, 5, 6, 7, 8]], [[-1, 0, 0, 0, 0], [-1, 0, 0, 0, 0]]]


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ([0, 1, 2], "expected \\(2, ...\\)"),
        (3, "expected \\(2, ...\\)"),
        (["cat", "dog"], "expected class indices, masks, numbers"),
        ([[0], [1, 2]], "cannot become an array"),
        ([0.5, float("nan")], "NaN or infinity"),
        ([{"boxes": []}, {"boxes": []}], "expected 'boxes' and 'labels'"),
        ([{"boxes": [[0, 0, 1, 1]], "labels": []}] * 2, "1 boxes and 0 labels"),
        ([{"boxes": [[0, 0, 1]], "labels": [0]}] * 2, "shape \\(n, 4\\)"),
        ([{"boxes": [[0, 0, 1, 1]], "labels": [0.5]}] * 2, "class indices from 0"),
        ([{"boxes": [[0, 0, float("inf"), 1]], "labels": [0]}] * 2, "finite boxes"),
    ],
)
def test_other_labels_are_refused_with_what_is_expected(value: Any, fault: str) -> None:  # noqa: ANN401 - as above
    with pytest.raises(DataError, match=fault):
        make_labels(value, count=2, source="data")


@pytest.mark.parametrize(
    ("labels", "fault"),
    [
        (np.array([0.0, 1.0]), "float64"),
        (np.zeros((2, 4, 4), np.int64), "one class index for each sample"),
        (np.array([0, 3]), "3 classes, 0 to 2"),
        (np.array([-1, 2]), "-1 to 2"),
    ],
)
def test_a_classifier_takes_class_indices(labels: np.ndarray, fault: str) -> None:
    with pytest.raises(DataError, match=fault):
        check_class_labels(labels, classes=3, source="data")


def objects(box: list[float], label: int = 0) -> np.ndarray:
    return make_labels([{"boxes": [box], "labels": [label]}], count=1, source="data")


def test_boxes_within_the_input_are_taken() -> None:
    check_objects(objects([0, 0, 64, 32], 2), size=(32, 64), classes=3, source="data")


@pytest.mark.parametrize(
    ("labels", "fault"),
    [
        (np.array([0, 1]), "a dictionary with boxes"),
        (objects([10, 10, 5, 20]), "no area"),
        (objects([10, 10, 70, 20]), "70 x 20: expected pixels of the model's input, 64 x 32"),
        (objects([0.1, 0.1, 0.5, 0.5]), "look like fractions"),
        (objects([1, 1, 5, 5], 3), "classes up to 3: model.labels has 3"),
        (make_labels([{"boxes": [], "labels": []}], count=1, source="data"), "no sample has an object"),
    ],
)
def test_impossible_objects_are_refused(labels: np.ndarray, fault: str) -> None:
    with pytest.raises(DataError, match=fault):
        check_objects(labels, size=(32, 64), classes=3, source="data")


def test_masks_hold_classes_of_the_model_and_255() -> None:
    check_masks(np.array([[[0, 2, 255]]]), classes=3, source="data")
    with pytest.raises(DataError, match="classes up to 3"):
        check_masks(np.array([[[0, 3, 255]]]), classes=3, source="data")
    with pytest.raises(DataError, match="masks of class indices"):
        check_masks(np.zeros((1, 4, 4)), classes=3, source="data")
