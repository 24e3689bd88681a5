from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from drupelet_shared.errors import InferenceFailedError
from drupelet_shared.postprocessing.geometry import fit_geometry
from drupelet_shared.postprocessing.segmentation import class_map, labelled_class_map
from drupelet_shared.postprocessing.specs import Segmentation

CLASSES = np.array([[0, 0, 1], [2, 2, 1]])


def one_hot(classes: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    return np.eye(3, dtype=np.float32)[classes].transpose(2, 0, 1)[None]


@pytest.mark.parametrize(
    ("values", "spec"),
    [
        (one_hot(CLASSES), {}),
        (one_hot(CLASSES).transpose(0, 2, 3, 1), {"layout": "NHWC"}),
        (CLASSES[None], {"values": "classes"}),
        (CLASSES[None, None], {"values": "classes"}),
        (CLASSES[None, :, :, None].astype(np.float32), {"values": "classes", "layout": "NHWC"}),
    ],
)
def test_the_class_of_each_pixel(values: npt.NDArray[Any], spec: dict[str, Any]) -> None:
    segmentation = Segmentation.model_validate({"output": "y", **spec})
    assert class_map({"y": values}, segmentation).tolist() == CLASSES.tolist()


def test_one_score_says_object_or_not() -> None:
    scores = np.array([[[[-1.0, 0.0, 1.0]]]], np.float32)
    assert class_map({"y": scores}, Segmentation(output="y")).tolist() == [[0, 1, 1]]
    plain = Segmentation(output="y", activation="none", threshold=0.75)
    assert class_map({"y": scores}, plain).tolist() == [[0, 0, 1]]


@pytest.mark.parametrize("shape", [(3,), (2, 3, 4, 4), (1, 1, 3, 4, 4)])
def test_another_shape_is_named(shape: tuple[int, ...]) -> None:
    with pytest.raises(InferenceFailedError, match="output 'y' has shape"):
        class_map({"y": np.zeros(shape, np.float32)}, Segmentation(output="y"))


def test_nan_fails_the_inference() -> None:
    with pytest.raises(InferenceFailedError, match="NaN"):
        class_map({"y": np.full((1, 2, 2, 2), np.nan, np.float32)}, Segmentation(output="y"))


def test_the_map_has_the_size_of_the_image_and_the_classes_their_shares() -> None:
    geometry = fit_geometry(image=(9, 4), tensor=(6, 4), resize="stretch")
    answer = labelled_class_map(CLASSES, geometry, labels=("sky", "tree"))
    assert answer["classes"].dtype == np.uint8
    assert answer["classes"].tolist() == [[0] * 6 + [1] * 3] * 2 + [[2] * 6 + [1] * 3] * 2
    assert answer["labels"].tolist() == [b"sky", b"tree", b"2"]
    np.testing.assert_allclose(answer["fractions"], [1 / 3] * 3, rtol=1e-6)
    assert answer["indices"].tolist() == [0, 1, 2]


def test_padding_is_not_part_of_the_answer() -> None:
    # An image twice as wide as high stands in the middle third to two thirds of a square of 8.
    square = np.zeros((8, 8), np.int64)
    square[2:6] = 1
    answer = labelled_class_map(square, fit_geometry(image=(20, 10), tensor=(8, 8), resize="letterbox"), labels=())
    assert np.unique(answer["classes"]).tolist() == [1]


def test_what_a_crop_hides_has_no_class() -> None:
    geometry = fit_geometry(image=(8, 4), tensor=(4, 4), resize="crop")
    answer = labelled_class_map(np.zeros((4, 4), np.int64), geometry, labels=())
    assert answer["classes"].tolist() == [[255, 255, 0, 0, 0, 0, 255, 255]] * 4
    assert answer["indices"].tolist() == [0]
    assert answer["fractions"].tolist() == [0.5]


def test_more_than_255_classes_take_two_bytes_each() -> None:
    geometry = fit_geometry(image=(1, 1), tensor=(1, 1), resize="stretch")
    assert labelled_class_map(np.array([[300]]), geometry, labels=())["classes"].tolist() == [[300]]


@pytest.mark.parametrize("wrong", [-1.0, 65535.0, np.nan, np.inf])
def test_a_class_that_no_map_holds_fails_the_inference(wrong: float) -> None:
    classes = np.array([[[0.0, wrong]]], np.float32)
    with pytest.raises(InferenceFailedError, match="expected 0 to 65534"):
        class_map({"y": classes}, Segmentation(output="y", values="classes"))


@pytest.mark.parametrize(("shape", "values"), [((1, 3, 0, 4), "scores"), ((1, 0, 2, 2), "scores"), ((0,), "classes")])
def test_an_output_without_pixels_is_named(shape: tuple[int, ...], values: str) -> None:
    segmentation = Segmentation.model_validate({"output": "y", "values": values})
    with pytest.raises(InferenceFailedError, match="expected at least one pixel"):
        class_map({"y": np.zeros(shape, np.float32)}, segmentation)


def test_the_answer_for_a_large_picture_takes_little_more_memory_than_its_map() -> None:
    geometry = fit_geometry(image=(3000, 2000), tensor=(3, 2), resize="stretch")
    tracemalloc.start()
    try:
        answer = labelled_class_map(CLASSES, geometry, labels=("a", "b", "c"))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert answer["fractions"].tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3])
    # A map of a byte for each of 6 million pixels, and what counts some rows of it.
    assert 6e6 < peak_bytes < 12e6
