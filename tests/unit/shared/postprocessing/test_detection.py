from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from pydantic import ValidationError

from drupelet_shared.errors import InferenceFailedError
from drupelet_shared.postprocessing.detection import detect, labelled_boxes
from drupelet_shared.postprocessing.geometry import fit_geometry
from drupelet_shared.postprocessing.specs import Detection

SIZE = (64, 128)
# Two objects in pixels of an input of 64 x 128: left, top, right, bottom; class 1 at 0.9 and class 0 at 0.6.
BOXES = np.array([[10, 20, 30, 40], [70, 8, 110, 24]], np.float32)
SCORES = np.array([[0.1, 0.9, 0.2], [0.6, 0.1, 0.3]], np.float32)
SIDES = np.array([128, 64, 128, 64], np.float32)

Array = npt.NDArray[Any]


def centres(boxes: Array) -> Array:
    return np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], axis=1)


def logit(probabilities: Array) -> Array:
    return np.log(probabilities / (1 - probabilities))


def assert_finds_both(outputs: dict[str, Array], spec: dict[str, Any], *, priors: Array | None = None) -> None:
    detection = Detection.model_validate({"outputs": list(outputs), **spec})
    answer = detect(outputs, detection, size=SIZE, priors=priors)
    np.testing.assert_allclose(answer.boxes, BOXES, atol=1e-3)
    np.testing.assert_allclose(answer.scores, [0.9, 0.6], atol=1e-5)
    assert answer.classes.tolist() == [1, 0]


def test_yolov5_scores_are_objectness_times_class() -> None:
    objectness = np.array([[0.9], [0.75]], np.float32)
    rows = np.concatenate([centres(BOXES), objectness, SCORES / objectness], axis=1)
    assert_finds_both({"y": rows[None]}, {"form": "yolov5"})
    assert_finds_both({"y": rows.T[None]}, {"form": "yolov5", "transposed": True})


def test_yolov8_has_candidates_in_columns() -> None:
    columns = np.concatenate([centres(BOXES), SCORES], axis=1).T
    assert_finds_both({"y": columns[None]}, {"form": "yolov8"})
    assert_finds_both({"y": columns.T[None]}, {"form": "yolov8", "transposed": True})


@pytest.mark.parametrize("concatenated", [True, False])
def test_distances_are_means_of_distributions_around_the_cells(*, concatenated: bool) -> None:
    strides, bins = (8, 16), 8
    levels = []
    for stride in strides:
        height, width = SIZE[0] // stride, SIZE[1] // stride
        maps = np.full((4 * bins + 3, height, width), -20, np.float32)
        maps[: 4 * bins] = 0
        levels.append(maps)
    for box, scores, stride, level in zip(BOXES, SCORES, strides, levels, strict=True):
        x, y = ((box[:2] + box[2:]) / 2 // stride).astype(int)
        centre = np.array([x + 0.5, y + 0.5])
        distances = np.concatenate([centre - box[:2] / stride, box[2:] / stride - centre])
        for side, distance in enumerate(distances):
            low = int(distance)
            level[side * bins : (side + 1) * bins, y, x] = -30
            # The mean of two neighbouring bins, weighted.
            level[side * bins + low, y, x] = np.log(1 - (distance - low) + 1e-9)
            level[side * bins + low + 1, y, x] = np.log(distance - low + 1e-9)
        level[4 * bins :, y, x] = logit(scores)
    spec = {"form": "yolov8-dfl", "strides": strides, "bins": bins, "activation": "sigmoid"}
    if concatenated:
        outputs = {"y": np.concatenate([level.reshape(len(level), -1) for level in levels], axis=1)[None]}
    else:
        outputs = {f"p{index}": level[None] for index, level in enumerate(levels)}
    assert_finds_both(outputs, spec)


@pytest.mark.parametrize(
    ("box_format", "boxes"),
    [
        ("xyxy", BOXES),
        ("yxyx", BOXES[:, [1, 0, 3, 2]]),
        ("xywh", np.concatenate([BOXES[:, :2], BOXES[:, 2:] - BOXES[:, :2]], axis=1)),
        ("cxcywh", centres(BOXES)),
    ],
)
def test_boxes_have_one_of_four_formats_in_pixels_or_fractions(box_format: str, boxes: Array) -> None:
    spec = {"form": "boxes-scores", "box_format": box_format}
    assert_finds_both({"b": boxes[None], "s": SCORES[None]}, spec)
    fractions = boxes / (SIDES[[1, 0, 3, 2]] if box_format == "yxyx" else SIDES)
    assert_finds_both({"b": fractions[None], "s": SCORES[None]}, {**spec, "box_unit": "fraction"})


def test_ssd_offsets_move_and_scale_the_priors() -> None:
    targets = centres(BOXES) / SIDES
    priors = np.array([[0.2, 0.5, 0.1, 0.2], [0.6, 0.3, 0.4, 0.4]], np.float32)
    offsets = np.concatenate(
        [(targets[:, :2] - priors[:, :2]) / (0.1 * priors[:, 2:]), np.log(targets[:, 2:] / priors[:, 2:]) / 0.2], axis=1
    )
    # Class 0 is the background, which is likeliest and never an answer.
    scores = np.concatenate([np.full((2, 1), 0.95, np.float32), SCORES], axis=1)
    outputs = {"loc": offsets[None].astype(np.float32), "conf": scores[None]}
    detection = Detection(form="ssd", outputs=("loc", "conf"), priors="priors.npy", background=0)
    answer = detect(outputs, detection, size=SIZE, priors=priors)
    np.testing.assert_allclose(answer.boxes, BOXES, atol=1e-2)
    assert answer.classes.tolist() == [2, 1]


@pytest.mark.parametrize("kind", ["six", "seven", "parts", "counted"])
def test_what_the_graph_suppressed_comes_as_rows_or_as_parts(kind: str) -> None:
    scores, classes = np.array([0.9, 0.6], np.float32), np.array([1, 0], np.float32)
    column = {"score": scores[:, None], "class": classes[:, None]}
    outputs = {
        "six": {"y": np.concatenate([BOXES, column["score"], column["class"]], axis=1)[None]},
        "seven": {"y": np.concatenate([np.zeros((2, 1)), BOXES, column["class"], column["score"]], axis=1)},
        "parts": {"b": BOXES, "s": scores, "c": classes.astype(np.int64)},
        "counted": {
            "b": np.concatenate([BOXES, np.ones((3, 4), np.float32)])[None],
            "s": np.array([[0.9, 0.6, 0.9, 0.9, 0.9]], np.float32),
            "c": np.array([[1, 0, 2, 2, 2]], np.float32),
            "n": np.array([2], np.float32),
        },
    }[kind]
    assert_finds_both(outputs, {"form": "nms"})


def test_a_box_over_a_better_one_of_its_class_is_suppressed() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [0, 0, 10, 10], [30, 30, 40, 40]], np.float32)
    scores = np.array([[0.8, 0], [0.9, 0], [0, 0.7], [0.6, 0]], np.float32)
    outputs = {"b": boxes[None], "s": scores[None]}
    spec = Detection(form="boxes-scores", outputs=("b", "s"))

    def scores_of(detection: Detection) -> list[float]:
        return [round(float(score), 3) for score in detect(outputs, detection, size=SIZE).scores]

    assert scores_of(spec) == [0.9, 0.7, 0.6]
    assert scores_of(spec.model_copy(update={"class_aware": False})) == [0.9, 0.6]
    assert scores_of(spec.model_copy(update={"iou_threshold": 1.0})) == [0.9, 0.8, 0.7, 0.6]
    assert scores_of(spec.model_copy(update={"max_detections": 2})) == [0.9, 0.7]
    assert scores_of(spec.model_copy(update={"score_threshold": 0.65})) == [0.9, 0.7]


def test_the_best_of_more_candidates_than_are_compared_are_kept() -> None:
    random = np.random.default_rng(0)
    corners = random.uniform(0, 5000, (5000, 2)).astype(np.float32)
    scores = random.uniform(0.3, 1, (5000, 1)).astype(np.float32)
    outputs = {"b": np.concatenate([corners, corners + 1], axis=1)[None], "s": scores[None]}
    answer = detect(outputs, Detection(form="boxes-scores", outputs=("b", "s")), size=SIZE)
    assert answer.scores.tolist() == sorted(scores.ravel().tolist(), reverse=True)[:100]


@pytest.mark.parametrize(("where", "value"), [("s", np.nan), ("b", np.nan), ("b", np.inf)])
def test_nan_and_infinity_fail_the_inference_instead_of_vanishing(where: str, value: float) -> None:
    outputs = {"b": BOXES[None].copy(), "s": SCORES[None].copy()}
    outputs[where][0, 0, 1] = value
    with pytest.raises(InferenceFailedError, match="NaN"):
        detect(outputs, Detection(form="boxes-scores", outputs=("b", "s")), size=SIZE)


@pytest.mark.parametrize(
    ("spec", "shapes"),
    [
        ({"form": "yolov5"}, [(1, 10, 5)]),
        ({"form": "yolov5"}, [(2, 10, 8)]),
        ({"form": "yolov8"}, [(1, 4, 10)]),
        ({"form": "yolov8"}, [(7,)]),
        ({"form": "yolov8-dfl"}, [(1, 64, 8, 16), (1, 64, 4, 8), (1, 64, 2, 4)]),
        ({"form": "yolov8-dfl"}, [(1, 67, 9, 16), (1, 67, 4, 8), (1, 67, 2, 4)]),
        ({"form": "yolov8-dfl"}, [(1, 67, 100)]),
        ({"form": "boxes-scores"}, [(1, 10, 5), (1, 10, 2)]),
        ({"form": "boxes-scores"}, [(1, 10, 4), (1, 9, 2)]),
        ({"form": "nms"}, [(1, 3, 8)]),
        ({"form": "nms"}, [(1, 3, 4), (1, 3), (1, 4)]),
    ],
)
def test_an_output_of_another_shape_is_named(spec: dict[str, Any], shapes: list[tuple[int, ...]]) -> None:
    outputs = {f"out{index}": np.zeros(shape, np.float32) for index, shape in enumerate(shapes)}
    detection = Detection.model_validate({"outputs": list(outputs), **spec})
    with pytest.raises(InferenceFailedError, match=r"output 'out\d' has shape"):
        detect(outputs, detection, size=SIZE)


@pytest.mark.parametrize(
    ("spec", "fault"),
    [
        ({"form": "yolov5", "outputs": ["a", "b"]}, "expected 1"),
        ({"form": "nms", "outputs": ["a", "b"]}, "expected 1 or 3 or 4"),
        ({"form": "yolov8-dfl", "outputs": ["a", "b"]}, "2 outputs for 3 strides"),
        ({"form": "ssd", "outputs": ["a", "b"]}, "needs priors"),
        ({"form": "yolov8", "outputs": ["a"], "priors": "p.npy"}, "no other form takes them"),
        ({"form": "yolov5", "outputs": ["a"], "activation": "softmax"}, "independent scores"),
    ],
)
def test_a_form_has_its_outputs_and_priors(spec: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        Detection.model_validate(spec)


def test_the_answer_is_in_pixels_of_the_image_and_clipped_to_it() -> None:
    candidates = detect(
        {
            "b": np.array([[[-5, 0, 20, 10], [130, 10, 140, 20]]], np.float32),
            "s": np.array([[[0.9], [0.8]]], np.float32),
        },
        Detection(form="boxes-scores", outputs=("b", "s")),
        size=SIZE,
    )
    answer = labelled_boxes(candidates, fit_geometry(image=(256, 64), tensor=(128, 64), resize="stretch"), labels=())
    # The second lies outside the image.
    assert answer["boxes"].tolist() == [[0, 0, 40, 10]]
    assert answer["labels"].tolist() == [b"0"]
    assert answer["indices"].dtype == np.int64


def test_nothing_found_is_an_empty_answer() -> None:
    outputs = {"b": BOXES[None], "s": SCORES[None] * 0.1}
    candidates = detect(outputs, Detection(form="boxes-scores", outputs=("b", "s")), size=SIZE)
    answer = labelled_boxes(candidates, fit_geometry(image=(10, 10), tensor=(128, 64), resize="crop"), labels=())
    assert {name: array.shape for name, array in answer.items()} == {
        "boxes": (0, 4),
        "labels": (0,),
        "scores": (0,),
        "indices": (0,),
    }


def test_rows_that_a_graph_of_fixed_size_filled_up_are_no_objects() -> None:
    filler = np.array([[0, 0, 0, 0, 1, -1]], np.float32)
    found = np.concatenate([BOXES, [[0.9], [0.6]], [[1], [0]]], axis=1).astype(np.float32)
    assert_finds_both({"y": np.concatenate([found, filler])[None]}, {"form": "nms"})


@pytest.mark.parametrize("count", [[], [np.nan], [np.inf], [1, 2]])
def test_a_count_of_objects_that_is_none_is_named(count: list[float]) -> None:
    outputs = {"b": BOXES[None], "s": np.array([[0.9, 0.6]]), "c": np.array([[1, 0]]), "n": np.array(count)}
    detection = Detection(form="nms", outputs=tuple(outputs))
    with pytest.raises(InferenceFailedError, match=r"output 'n' .*: expected one finite number, the count of objects"):
        detect(outputs, detection, size=SIZE)


def test_a_count_beyond_the_rows_or_below_zero_stops_at_them() -> None:
    outputs = {"b": BOXES[None], "s": np.array([[0.9, 0.6]]), "c": np.array([[1, 0]])}
    detection = Detection(form="nms", outputs=("b", "s", "c", "n"))
    counts = {count: len(detect({**outputs, "n": np.array([count])}, detection, size=SIZE).boxes) for count in (9, -3)}
    assert counts == {9: 2, -3: 0}


def test_an_object_whose_class_is_nan_fails_the_inference() -> None:
    rows = np.concatenate([BOXES, [[0.9], [0.1]], [[np.nan], [np.nan]]], axis=1).astype(np.float32)
    detection = Detection(form="nms", outputs=("y",))
    with pytest.raises(InferenceFailedError, match="a class is NaN or infinite"):
        detect({"y": rows[None]}, detection, size=SIZE)
    # Nobody sees the class of what is below the threshold.
    rows[0, 5] = 2
    assert detect({"y": rows[None]}, detection, size=SIZE).classes.tolist() == [2]


def test_an_infinite_score_fails_the_inference() -> None:
    scores = np.array([[[np.inf, 0.1], [0.6, 0.2]]], np.float32)
    detection = Detection(form="boxes-scores", outputs=("b", "s"))
    with pytest.raises(InferenceFailedError, match="a score is NaN or infinite"):
        detect({"b": BOXES[None], "s": scores}, detection, size=SIZE)
