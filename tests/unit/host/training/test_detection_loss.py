from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from drupelet_host.data.dataset import Dataset
from drupelet_host.errors import ModelError
from drupelet_host.training.detection_loss import DetectionLoss, make_detection_loss
from drupelet_host.training.detections import Detections, read_detections
from drupelet_host.training.distillation import check_alike
from drupelet_host.training.task_outputs import TaskOutputs
from drupelet_host.training.training_data import prepare_training_data
from drupelet_shared.postprocessing.candidates import read_candidates
from drupelet_shared.postprocessing.specs import Detection

SIZE = (32, 48)
CLASSES, COUNT, BINS = 3, 12, 4
PRIORS = np.random.default_rng(3).uniform(0.2, 0.6, (COUNT, 4)).astype(np.float32)
CPU = torch.device("cpu")


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return 2 * torch.randn(2, *shape, generator=torch.Generator().manual_seed(seed))


# For each form the settings of the post-processing, and the outputs for two images.
FORMS: dict[str, tuple[dict[str, Any], dict[str, torch.Tensor]]] = {
    "yolov5": ({"activation": "sigmoid"}, {"out": numbers(COUNT, 5 + CLASSES)}),
    "yolov5 transposed": (
        {"form": "yolov5", "transposed": True},
        {"out": numbers(5 + CLASSES, COUNT).sigmoid()},
    ),
    "yolov8": ({}, {"out": numbers(4 + CLASSES, COUNT).sigmoid()}),
    "yolov8 transposed": ({"form": "yolov8", "transposed": True, "activation": "sigmoid"}, {"out": numbers(COUNT, 7)}),
    "yolov8-dfl": (
        {"activation": "sigmoid", "strides": (8, 16), "bins": BINS},
        {"fine": numbers(4 * BINS + CLASSES, 4, 6), "coarse": numbers(4 * BINS + CLASSES, 2, 3, seed=1)},
    ),
    "yolov8-dfl in one": (
        {"form": "yolov8-dfl", "activation": "sigmoid", "strides": (8, 16), "bins": BINS},
        {"out": numbers(4 * BINS + CLASSES, 30)},
    ),
    "boxes-scores": (
        {"box_format": "yxyx", "box_unit": "fraction", "activation": "softmax", "background": 0},
        {"boxes": numbers(COUNT, 4), "scores": numbers(COUNT, 1 + CLASSES)},
    ),
    "ssd": (
        {"priors": "priors.npy", "activation": "softmax", "background": CLASSES},
        {"boxes": numbers(COUNT, 4), "scores": numbers(COUNT, CLASSES + 1)},
    ),
}


def task_of(form: str) -> TaskOutputs:
    settings, outputs = FORMS[form]
    detection = Detection.model_validate({"form": form, "outputs": tuple(outputs), **settings})
    return TaskOutputs(detection, tuple(outputs), SIZE, PRIORS if detection.form == "ssd" else None)


def read(form: str) -> Detections:
    return read_detections(FORMS[form][1], task_of(form), priors=torch.from_numpy(PRIORS))


@pytest.mark.parametrize("form", FORMS)
def test_training_reads_the_boxes_and_the_best_scores_that_a_device_reads(form: str) -> None:
    task, outputs, found = task_of(form), FORMS[form][1], read(form)
    for place in range(2):
        one = {name: values[place : place + 1].numpy() for name, values in outputs.items()}
        expected = read_candidates(one, task.detection, size=SIZE, priors=task.priors)
        np.testing.assert_allclose(found.boxes[place].numpy(), expected.boxes, rtol=1e-4, atol=1e-3)
        classes = found.scores[place, :, 1:] if task.detection.form == "yolov5" else found.scores[place]
        np.testing.assert_allclose(classes.amax(dim=-1).numpy(), expected.scores, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_the_originals_own_outputs_lose_nothing_and_all_others_something_with_a_gradient(form: str) -> None:
    outputs = FORMS[form][1]
    loss = make_detection_loss(task_of(form), outputs, device=CPU)
    assert loss is not None
    assert float(loss(outputs, outputs)) == pytest.approx(0, abs=1e-5)
    changed = {name: (values * 0.9).requires_grad_() for name, values in outputs.items()}
    lost = loss(changed, outputs)
    lost.backward()
    assert lost.item() > 1e-3
    assert all(values.grad is not None and bool(values.grad.isfinite().all()) for values in changed.values())
    assert any(bool(values.grad.abs().sum() > 0) for values in changed.values())


def test_a_box_without_an_object_may_lie_anywhere() -> None:
    scores = torch.tensor([[[0.9, 0.0], [0.0, 0.0]]])
    boxes = torch.tensor([[[4.0, 4.0, 12.0, 12.0], [20.0, 20.0, 30.0, 30.0]]])
    moved = torch.tensor([[[0.0, 0.0, 0.0, 0.0], [3.0, 3.0, 3.0, 3.0]]])
    loss = DetectionLoss(_plain())
    teacher = {"boxes": boxes, "scores": scores}
    assert float(loss({"boxes": boxes + moved, "scores": scores}, teacher)) == 0
    assert float(loss({"boxes": boxes + moved.flip(1), "scores": scores}, teacher)) > 0.5


def test_a_box_without_an_area_has_a_finite_loss_and_gradient() -> None:
    teacher = {"boxes": torch.zeros(1, 2, 4), "scores": torch.full((1, 2, 1), 0.5)}
    boxes = torch.tensor([[[5.0, 5.0, 3.0, 3.0], [0.0, 0.0, 0.0, 0.0]]], requires_grad=True)
    loss = DetectionLoss(_plain())({"boxes": boxes, "scores": teacher["scores"]}, teacher)
    loss.backward()
    assert bool(loss.isfinite())
    assert boxes.grad is not None
    assert bool(boxes.grad.isfinite().all())


def test_scores_that_are_no_probabilities_are_taken_as_logits() -> None:
    teacher = {"boxes": torch.zeros(1, 2, 4), "scores": torch.tensor([[[-7.0], [4.0]]])}
    loss = make_detection_loss(_plain(), teacher, device=CPU)
    assert loss is not None
    assert loss.takes_logits
    assert bool(loss({**teacher, "scores": teacher["scores"] - 1}, teacher).isfinite())


def test_outputs_in_which_the_graph_has_suppressed_boxes_are_learned_as_any_others() -> None:
    detection = Detection(form="nms", outputs=("found",))
    task = TaskOutputs(detection, ("found",), SIZE)
    images = Dataset(np.random.default_rng(0).normal(0, 1, (8, 1, 4, 6)).astype(np.float32), None)
    assert prepare_training_data(torch.nn.Identity(), images, task=task).task_loss is None


def test_a_model_that_returns_other_outputs_in_training_mode_is_named() -> None:
    evaluated, trained = {"output": torch.zeros(2, 7, 9)}, {"output_0": torch.zeros(2, 7, 3, 3)}
    with pytest.raises(ModelError, match=r"'output_0' \[2, 7, 3, 3\] in training mode and 'output' \[2, 7, 9\]"):
        check_alike(trained, evaluated)


def _plain() -> TaskOutputs:
    return TaskOutputs(Detection(form="boxes-scores", outputs=("boxes", "scores")), ("boxes", "scores"), SIZE)
