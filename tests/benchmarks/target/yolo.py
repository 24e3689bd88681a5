"""A small YOLOv8 that is trained to find drawn shapes, and recovered by distillation after each step."""

from __future__ import annotations

import sys
from functools import partial
from importlib import util
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import nn

from benchmarks.instructions.emulator import ROOT
from benchmarks.target.distilling import distil
from benchmarks.target.quality import Quality
from drupelet_host.data.dataset import Dataset, make_dataset
from drupelet_host.evaluation.scoring import evaluate_module
from drupelet_host.evaluation.task_metrics.detection import MeanAveragePrecision
from drupelet_host.torch_models.device import choose_device
from drupelet_host.training.detection_loss import DetectionLoss
from drupelet_host.training.recovery import prepare_training_data
from drupelet_host.training.task_outputs import TaskOutputs
from drupelet_shared.postprocessing.specs import Detection
from support.model.split_architectures import C2f, Pooled

_DRAWING = ROOT / "host/examples/detection/data.py"
_SIDE, _STRIDE, _BINS, _CLASSES = 64, 8, 4, 3
_GRID = _SIDE // _STRIDE
_SEED = 0
_TRAINING, _SELECTION, _CURVES, _TEST = 1600, 200, 120, 500
_EPOCHS, _BATCH, _LEARNING_RATE = 12, 50, 4e-3
_RECOVERY_EPOCHS = 4
# The cells whose centre is this near to an object's, in strides, find it.
_NEAR = 0.75
_TASK = TaskOutputs(Detection(form="yolov8", outputs=("output",)), ("output",), (_SIDE, _SIDE))


class ShapeFinder(nn.Module):
    """(batch, 1, 64, 64) to (batch, 4 + classes, 64): centre and size in pixels, and scores."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _conv(1, 16, stride=2), C2f(16, 32, 1),
            _conv(32, 32, stride=2), C2f(32, 48, 2),
            _conv(48, 64, stride=2), C2f(64, 64, 1), Pooled(64),
        )  # fmt: skip
        self.boxes = nn.Sequential(_conv(64, 32), nn.Conv2d(32, 4 * _BINS, 1))
        self.scores = nn.Sequential(_conv(64, 32), nn.Conv2d(32, _CLASSES, 1))
        self.register_buffer("centres", _centres().T, persistent=False)
        self.register_buffer("bins", torch.arange(_BINS, dtype=torch.float32).view(1, 1, _BINS, 1), persistent=False)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Detect."""
        features = self.body(pictures)
        boxes, scores = self.boxes(features).flatten(2), self.scores(features).flatten(2)
        sides = (boxes.view(len(boxes), 4, _BINS, -1).softmax(dim=2) * self.bins).sum(dim=2) * _STRIDE
        before, after = sides.split(2, dim=1)
        return torch.cat([self.centres + (after - before) / 2, before + after, scores.sigmoid()], dim=1)


class TrainedYolo:
    """The detector with pictures that train, select and test it."""

    step = 0.2
    # Layers of few channels cost time for little arithmetic: a step by multiply-accumulates alone saves less time, and
    # such a way would be trained more often before it is as fast.
    steps_are_equal_in_time = True
    what = (
        f"trained on {_TRAINING} pictures of drawn shapes at {_SIDE} x {_SIDE}, {_EPOCHS} epochs; {_RECOVERY_EPOCHS} "
        "epochs of distillation after each step, which saves a fifth of the time; compared at mAP 50-95 of "
        f"{_TEST} other pictures"
    )

    def __init__(self, *, weights: Path) -> None:
        """Train the detector where its weights are not there yet.

        Args:
            weights: Where the trained weights are kept.
        """
        drawing = _load_drawing()
        self._training, self._selection, self._test = (
            make_dataset(drawing.draw(count, seed=seed), source="drawn shapes")
            for seed, count in enumerate((_TRAINING, _SELECTION, _TEST))
        )
        self._metric = MeanAveragePrecision(_TASK.detection, size=_TASK.size)
        self.example = self.curve_example = torch.zeros(1, 1, _SIDE, _SIDE)
        self.original = self._train(weights)
        self._curve_samples = self._selection.subset(_CURVES, seed=_SEED)
        self._prepared = prepare_training_data(
            self.original, Dataset(self._training.inputs, None), device=choose_device("cpu"), task=_TASK
        )

    def score(self, model: nn.Module) -> float:
        """Return the mean average precision of a few pictures that train nothing."""
        return self._evaluate(model, self._curve_samples)

    def recover(self, model: nn.Module) -> None:
        """Distil from the original, as a compile does."""
        evaluate = partial(self._evaluate, dataset=self._selection)
        distil(model, self._prepared, evaluate, epochs=_RECOVERY_EPOCHS, seed=_SEED)

    def judge(self, model: nn.Module) -> Quality:
        """Return the mean average precision of the test pictures."""
        return Quality(self._evaluate(model, self._test))

    def _evaluate(self, model: nn.Module, dataset: Dataset) -> float:
        return evaluate_module(model, dataset, self._metric, names=_TASK.names)

    def _train(self, weights: Path) -> nn.Module:
        torch.manual_seed(_SEED)
        model = ShapeFinder()
        if weights.is_file():
            model.load_state_dict(torch.load(weights, weights_only=True))
            return model.eval()
        _fit(model, self._training)
        partial_file = weights.with_suffix(".part")
        torch.save(model.state_dict(), partial_file)
        partial_file.replace(weights)
        return model.eval()


def make_targets(objects: np.ndarray) -> torch.Tensor:
    """Return what the detector should answer for pictures: (pictures, 4 + classes, cells).

    Args:
        objects: Shape (pictures, n, 5): class, left, top, right, bottom; class -1 is none.
    """
    targets, centres = torch.zeros(len(objects), 4 + _CLASSES, _GRID * _GRID), _centres()
    for target, rows in zip(targets, torch.from_numpy(objects), strict=True):
        for label, left, top, right, bottom in rows[rows[:, 0] >= 0].tolist():
            middle = torch.tensor([(left + right) / 2, (top + bottom) / 2])
            near = ((centres - middle).abs() < _NEAR * _STRIDE).all(dim=1)
            target[:4, near] = torch.tensor([*middle, right - left, bottom - top])[:, None]
            target[4 + int(label), near] = 1
    return targets


def _fit(model: nn.Module, training: Dataset) -> None:
    """Learn the targets as if a perfect detector had given them."""
    assert training.labels is not None, "drawn shapes have boxes"
    assert isinstance(training.inputs, np.ndarray), "the detector has one input"
    pictures, targets = torch.from_numpy(training.inputs), make_targets(training.labels)
    loss = DetectionLoss(_TASK)
    optimizer = torch.optim.AdamW(model.parameters(), lr=_LEARNING_RATE)
    steps = _EPOCHS * -(-len(pictures) // _BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LEARNING_RATE, total_steps=steps)
    model.train()
    for epoch in range(_EPOCHS):
        for batch in torch.randperm(len(pictures)).split(_BATCH):
            optimizer.zero_grad()
            lost = loss({"output": model(pictures[batch])}, {"output": targets[batch]})
            lost.backward()  # type: ignore[no-untyped-call]  # untyped in torch
            optimizer.step()
            schedule.step()
        print(f"  epoch {epoch + 1} of {_EPOCHS}: loss {lost.item():.3f}", file=sys.stderr, flush=True)


def _conv(inputs: int, outputs: int, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.SiLU()
    )


def _centres() -> torch.Tensor:
    """Return the centre of each cell in pixels, shape (cells, 2)."""
    rows, columns = torch.meshgrid(torch.arange(_GRID), torch.arange(_GRID), indexing="ij")
    return (torch.stack([columns, rows], dim=-1).reshape(-1, 2) + 0.5) * _STRIDE


def _load_drawing() -> ModuleType:
    """Return the example's module that draws pictures."""
    spec = util.spec_from_file_location("drawn_shapes", _DRAWING)
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
