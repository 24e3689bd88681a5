"""Mean average precision equals pycocotools', the evaluation it is defined by."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from drupelet_host.data.labels import make_labels
from drupelet_host.errors import DataError
from drupelet_host.evaluation.task_metrics.detection import OVERLAPS, MeanAveragePrecision, mean_average_precision
from drupelet_shared.postprocessing.candidates import Candidates
from drupelet_shared.postprocessing.specs import Detection

CLASSES = 3
Array = npt.NDArray[Any]


def random_images(seed: int) -> tuple[list[Candidates], list[Array]]:
    """Objects, and detections that are these moved a little, doubled, mislabelled or invented."""
    random = np.random.default_rng(seed)
    found, objects = [], []
    for _ in range(30):
        count = int(random.integers(0, 5))
        corners = random.uniform(0, 60, (count, 2))
        boxes = np.concatenate([corners, corners + random.uniform(15, 40, (count, 2))], axis=1)
        labels = random.integers(0, CLASSES, count)
        objects.append(np.concatenate([labels[:, None], boxes], axis=1))
        guesses = np.concatenate(
            [boxes, boxes[: count // 2], random.uniform([0, 0, 50, 50], [50, 50, 100, 100], (2, 4))]
        )
        guesses += random.normal(0, 3, guesses.shape)
        classes = np.concatenate([labels, labels[: count // 2], random.integers(0, CLASSES, 2)])
        classes = np.where(random.random(len(classes)) < 0.1, random.integers(0, CLASSES, len(classes)), classes)
        scores = random.random(len(guesses))
        order = np.argsort(-scores)
        found.append(Candidates(guesses[order], scores[order], classes[order]))
    return found, objects


def evaluate_with_pycocotools(found: list[Candidates], objects: list[Array]) -> tuple[float, float]:
    """Return mAP 50:95 and mAP 50."""

    def size(box: Array) -> list[float]:
        return [box[0], box[1], box[2] - box[0], box[3] - box[1]]

    annotations = [
        {"image_id": image, "category_id": int(row[0]) + 1, "bbox": size(row[1:]), "area": 1.0, "iscrowd": 0}
        for image, rows in enumerate(objects)
        for row in rows
    ]
    truth = COCO()
    truth.dataset = {
        "images": [{"id": image} for image in range(len(objects))],
        "categories": [{"id": number} for number in range(1, CLASSES + 1)],
        "annotations": [{**annotation, "id": number} for number, annotation in enumerate(annotations, start=1)],
        "info": {},
    }
    detections = [
        {"image_id": image, "category_id": int(label) + 1, "bbox": size(box), "score": float(score)}
        for image, candidates in enumerate(found)
        for box, score, label in zip(candidates.boxes, candidates.scores, candidates.classes, strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(detections), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0]), float(evaluation.stats[1])


@pytest.mark.parametrize("seed", range(5))
def test_the_value_is_that_of_the_coco_evaluation(seed: int) -> None:
    found, objects = random_images(seed)
    expected = evaluate_with_pycocotools(found, objects)
    assert expected[0] < expected[1] < 1
    assert mean_average_precision(found, objects, OVERLAPS["map50_95"]) == pytest.approx(expected[0], abs=1e-6)
    assert mean_average_precision(found, objects, OVERLAPS["map50"]) == pytest.approx(expected[1], abs=1e-6)


BOXES = [[0, 0, 10, 10], [20, 20, 40, 40]]
LABELS = make_labels(
    [{"boxes": BOXES, "labels": [0, 1]}, {"boxes": [], "labels": []}, {"boxes": BOXES[:1], "labels": [1]}],
    count=3,
    source="data",
)
METRIC = MeanAveragePrecision(Detection(form="boxes-scores", outputs=("b", "s")), size=(64, 64))


def answer(boxes: Any, scores: Any) -> dict[str, Array]:  # noqa: ANN401 - lists of numbers
    return {"b": np.array([boxes], np.float32), "s": np.array([scores], np.float32)}


def test_outputs_are_read_as_the_device_reads_them() -> None:
    right = [answer(BOXES, [[0.9, 0], [0, 0.8]]), answer(BOXES, [[0, 0], [0, 0]]), answer(BOXES[:1], [[0, 0.9]])]
    assert METRIC.score(right, labels=LABELS, expected=()) == 1.0


def test_scores_far_below_the_answers_threshold_count() -> None:
    weak = [answer(BOXES, [[0.01, 0], [0, 0.01]]), answer(BOXES, [[0, 0], [0, 0]]), answer(BOXES[:1], [[0, 0.01]])]
    assert METRIC.score(weak, labels=LABELS, expected=()) == 1.0


def test_zeroed_scores_and_nan_find_nothing() -> None:
    for value in (0.0, np.nan):
        answers = [answer(BOXES, [[value, value], [value, value]])] * 3
        assert METRIC.score(answers, labels=LABELS, expected=()) == 0.0


def test_an_object_with_the_label_of_another_class_is_missed() -> None:
    swapped = [answer(BOXES, [[0, 0.9], [0.9, 0]]), answer(BOXES, [[0, 0], [0, 0]]), answer(BOXES[:1], [[0.9, 0]])]
    assert METRIC.score(swapped, labels=LABELS, expected=()) == 0.0


def test_data_without_objects_is_an_error() -> None:
    with pytest.raises(DataError, match="needs objects"):
        METRIC.score([answer(BOXES, [[1, 0], [0, 1]])], labels=None, expected=())
