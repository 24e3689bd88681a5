"""The distillation loss of detectors: boxes and scores, weighted by where the original sees objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from drupelet_host.training.detections import Detections, is_readable, read_detections
from drupelet_host.training.task_outputs import TaskOutputs

_SMALLEST = 1e-6
_SMALLEST_SIDE = 1.0
# A box's error counts as in detectors that train with both, relative to the scores' (Carion et al., 2020, DETR).
_OVERLAP_WEIGHT, _DISTANCE_WEIGHT = 2.0, 2.0

Outputs = Mapping[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class DetectionLoss:
    """How far a detector's boxes and scores are from the original's; 0 where they are equal.

    Almost all candidates of a detector show no object, and a squared error over all of them is that of boxes that no
    answer contains. Here a candidate's box counts as much as the original's best score for it (Chen et al., "Learning
    Efficient Object Detection Models with Knowledge Distillation", 2017, weigh in the same spirit), and the sum over
    the batch is divided by the sum of these weights, which is about the number of objects.

    Attributes:
        task: What the outputs hold.
        takes_logits: Whether the scores are not probabilities even after the activation.
        priors: Those of the task on the device that trains.
    """

    task: TaskOutputs
    takes_logits: bool = False
    priors: torch.Tensor | None = field(default=None, repr=False)

    def __call__(self, outputs: Outputs, teacher: Outputs) -> torch.Tensor:
        """Compute the loss of a batch.

        Args:
            outputs: The student's outputs, in the module's order.
            teacher: The original's.

        Returns:
            The loss: the divergence of the scores, each as the probability of its class, and the error of the boxes as
            generalized intersection over union (Rezatofighi et al., 2019) and as distance relative to their size.
        """
        ours, theirs = self._read(outputs), self._read(teacher)
        weights = theirs.scores.amax(dim=-1)
        count = weights.sum().clamp(min=1.0)
        classes = _divergence(ours.scores, theirs.scores).sum()
        overlap = ((1 - _generalized_overlap(ours.boxes, theirs.boxes)) * weights).sum()
        distance = (_relative_distance(ours.boxes, theirs.boxes) * weights).sum()
        return (classes + _OVERLAP_WEIGHT * overlap + _DISTANCE_WEIGHT * distance) / count

    def _read(self, outputs: Outputs) -> Detections:
        found = read_detections(outputs, self.task, priors=self.priors)
        return Detections(found.boxes, found.scores.sigmoid()) if self.takes_logits else found


def make_detection_loss(task: TaskOutputs, answers: Outputs, *, device: torch.device) -> DetectionLoss | None:
    """Return the loss for a detector; None where its outputs have no place for each candidate.

    Args:
        task: What the outputs hold.
        answers: Some of the original's outputs, of shape (samples, ...), on the CPU.
        device: The device that trains.
    """
    if not is_readable(task):
        return None
    priors = None if task.priors is None else torch.from_numpy(task.priors)
    scores = read_detections(answers, task, priors=priors).scores
    takes_logits = bool((scores < -_SMALLEST).any() or (scores > 1 + _SMALLEST).any())
    return DetectionLoss(task, takes_logits=takes_logits, priors=None if priors is None else priors.to(device))


def _divergence(scores: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the Kullback-Leibler divergence of each score as a probability of its own from the target."""
    ours, theirs = (each.clamp(_SMALLEST, 1 - _SMALLEST) for each in (scores, target))
    yes = theirs * (theirs.log() - ours.log())
    no = (1 - theirs) * (torch.log1p(-theirs) - torch.log1p(-ours))
    return yes + no


def _generalized_overlap(boxes: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    inner = _area(torch.maximum(boxes[..., :2], target[..., :2]), torch.minimum(boxes[..., 2:], target[..., 2:]))
    hull = _area(torch.minimum(boxes[..., :2], target[..., :2]), torch.maximum(boxes[..., 2:], target[..., 2:]))
    union = _area(boxes[..., :2], boxes[..., 2:]) + _area(target[..., :2], target[..., 2:]) - inner
    return (inner + _SMALLEST) / (union + _SMALLEST) - (hull - union).clamp(min=0) / (hull + _SMALLEST)


def _area(left_top: torch.Tensor, right_bottom: torch.Tensor) -> torch.Tensor:
    sides = (right_bottom - left_top).clamp(min=0)
    return sides[..., 0] * sides[..., 1]


def _relative_distance(boxes: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the mean distance of the four sides, as a share of the target's width or height."""
    sizes = (target[..., 2:] - target[..., :2]).clamp(min=_SMALLEST_SIDE)
    return ((boxes - target).abs() / torch.cat([sizes, sizes], dim=-1)).mean(dim=-1)
