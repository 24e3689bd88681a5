"""Boxes and class scores of a detector's outputs as tensors that take gradients, for a whole batch at once.

`drupelet_shared.postprocessing.candidates` reads the same forms for one image without PyTorch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from drupelet_host.training.task_outputs import TaskOutputs
from drupelet_shared.postprocessing.specs import Activation, BoxFormat

_BOX = 4
# As the device limits it: e^60 times any prior is far outside every image.
_LARGEST_EXPONENT = 60.0

Outputs = Mapping[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Detections:
    """What a batch of images was answered with, before any threshold.

    Attributes:
        boxes: Shape (batch, candidates, 4): left, top, right, bottom in pixels of the model's input.
        scores: Shape (batch, candidates, columns): those of the classes without the background; of form "yolov5" the
            objectness first.
    """

    boxes: torch.Tensor
    scores: torch.Tensor


def is_readable(task: TaskOutputs) -> bool:
    """Return whether each candidate has its own place in the outputs: what the graph has suppressed has none."""
    return task.detection.form != "nms"


def read_detections(outputs: Outputs, task: TaskOutputs, *, priors: torch.Tensor | None = None) -> Detections:
    """Read the outputs of a batch.

    Args:
        outputs: The module's outputs, in its order.
        task: What they hold; its form is not "nms".
        priors: Those of the task on the outputs' device.

    Returns:
        Boxes and scores of every candidate, in the order of the outputs.
    """
    named = dict(zip(task.names, outputs.values(), strict=True))
    chosen = [named[name].float() for name in task.detection.outputs]
    form = task.detection.form
    if form == "yolov5":
        return _yolov5(chosen[0], task)
    if form == "yolov8":
        return _yolov8(chosen[0], task)
    if form == "yolov8-dfl":
        return _distributions(chosen, task)
    if form == "ssd":
        return _ssd(chosen[0], chosen[1], task, priors)
    return _boxes_and_scores(chosen[0], chosen[1], task)


def _yolov5(output: torch.Tensor, task: TaskOutputs) -> Detections:
    rows = _rows(output, transposed=task.detection.transposed)
    scores = _activate(rows[..., _BOX:], task.detection.activation)
    objectness, classes = scores[..., :1], scores[..., 1:]
    together = torch.cat([objectness, _without_background(objectness * classes, task)], dim=-1)
    return Detections(_to_corners(rows[..., :_BOX], "cxcywh"), together)


def _yolov8(output: torch.Tensor, task: TaskOutputs) -> Detections:
    rows = _rows(output, transposed=not task.detection.transposed)
    scores = _activate(rows[..., _BOX:], task.detection.activation)
    return Detections(_to_corners(rows[..., :_BOX], "cxcywh"), _without_background(scores, task))


def _distributions(outputs: Sequence[torch.Tensor], task: TaskOutputs) -> Detections:
    detection = task.detection
    if outputs[0].ndim == 4:  # noqa: PLR2004 - (batch, channels, height, width)
        rows = torch.cat([level.flatten(2).transpose(1, 2) for level in outputs], dim=1)
    else:
        rows = _rows(outputs[0], transposed=not detection.transposed)
    sides = _BOX * detection.bins
    distances = rows[..., :sides].reshape(*rows.shape[:2], _BOX, detection.bins).softmax(dim=-1)
    means = distances @ torch.arange(detection.bins, dtype=rows.dtype, device=rows.device)
    centres, strides = _cell_centres(task, rows.device)
    corners = torch.cat([centres - means[..., :2], centres + means[..., 2:]], dim=-1) * strides
    scores = _activate(rows[..., sides:], detection.activation)
    return Detections(corners, _without_background(scores, task))


def _cell_centres(task: TaskOutputs, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the centre of each cell in cells, and the stride of its grid."""
    centres, strides = [], []
    for stride in task.detection.strides:
        height, width = (-(-side // stride) for side in task.size)
        rows = torch.arange(height, device=device) + 0.5
        columns = torch.arange(width, device=device) + 0.5
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        centres.append(torch.stack([x.flatten(), y.flatten()], dim=-1))
        strides.append(torch.full((height * width, 1), float(stride), device=device))
    return torch.cat(centres), torch.cat(strides)


def _boxes_and_scores(boxes: torch.Tensor, scores: torch.Tensor, task: TaskOutputs) -> Detections:
    detection = task.detection
    corners = _to_corners(_rows(boxes, transposed=detection.transposed), detection.box_format)
    in_pixels = _from_fractions(corners, task) if detection.box_unit == "fraction" else corners
    return Detections(in_pixels, _class_scores(scores, task))


def _ssd(offsets: torch.Tensor, scores: torch.Tensor, task: TaskOutputs, priors: torch.Tensor | None) -> Detections:
    """Decode offsets from prior boxes (Liu et al., 2016, SSD)."""
    assert priors is not None, "the form has them"
    rows = _rows(offsets, transposed=task.detection.transposed)
    centre_scale, size_scale = task.detection.variances
    centres = priors[:, :2] + rows[..., :2] * centre_scale * priors[:, 2:]
    sizes = priors[:, 2:] * (rows[..., 2:] * size_scale).clamp(max=_LARGEST_EXPONENT).exp()
    boxes = _to_corners(torch.cat([centres, sizes], dim=-1), "cxcywh")
    return Detections(_from_fractions(boxes, task), _class_scores(scores, task))


def _class_scores(scores: torch.Tensor, task: TaskOutputs) -> torch.Tensor:
    rows = _rows(scores, transposed=task.detection.transposed)
    return _without_background(_activate(rows, task.detection.activation), task)


def _from_fractions(corners: torch.Tensor, task: TaskOutputs) -> torch.Tensor:
    height, width = task.size
    left, top, right, bottom = corners.unbind(dim=-1)
    return torch.stack([left * width, top * height, right * width, bottom * height], dim=-1)


def _rows(values: torch.Tensor, *, transposed: bool) -> torch.Tensor:
    """Return an output as (batch, candidates, columns)."""
    rows = values.reshape(len(values), *values.shape[-2:])
    return rows.transpose(1, 2) if transposed else rows


def _activate(scores: torch.Tensor, activation: Activation) -> torch.Tensor:
    if activation == "softmax":
        return scores.softmax(dim=-1)
    return scores.sigmoid() if activation == "sigmoid" else scores


def _without_background(scores: torch.Tensor, task: TaskOutputs) -> torch.Tensor:
    background = task.detection.background
    if background is None or background >= scores.shape[-1]:
        return scores
    return torch.cat([scores[..., :background], scores[..., background + 1 :]], dim=-1)


def _to_corners(boxes: torch.Tensor, box_format: BoxFormat) -> torch.Tensor:
    if box_format == "xyxy":
        return boxes
    if box_format == "yxyx":
        top, left, bottom, right = boxes.unbind(dim=-1)
        return torch.stack([left, top, right, bottom], dim=-1)
    first, sizes = boxes[..., :2], boxes[..., 2:]
    corner = first if box_format == "xywh" else first - sizes / 2
    return torch.cat([corner, corner + sizes], dim=-1)
