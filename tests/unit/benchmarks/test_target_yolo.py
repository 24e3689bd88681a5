"""The detector whose plans are compared: what it learns is right, and it has channels to remove."""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.target.yolo import ShapeFinder, make_targets
from drupelet_host.evaluation.task_metrics.detection import MeanAveragePrecision
from drupelet_shared.postprocessing.specs import Detection

OBJECTS = np.array(
    [
        [[0, 10, 12, 30, 32], [2, 40, 41, 60, 63]],
        [[1, 5, 30, 19, 44], [-1, 0, 0, 0, 0]],
    ],
    np.float32,
)


def test_who_answers_with_the_targets_finds_everything() -> None:
    targets = make_targets(OBJECTS)
    metric = MeanAveragePrecision(Detection(form="yolov8", outputs=("output",)), size=(64, 64))
    answers = [{"output": target[None].numpy()} for target in targets]
    assert metric.score(answers, labels=OBJECTS, expected=()) == 1


def test_the_detector_answers_in_the_form_of_its_targets() -> None:
    with torch.no_grad():
        answer = ShapeFinder().eval()(torch.zeros(2, 1, 64, 64))
    assert answer.shape == make_targets(OBJECTS).shape
    assert bool((answer[:, 2:4] >= 0).all())
    assert bool(((answer[:, 4:] >= 0) & (answer[:, 4:] <= 1)).all())
