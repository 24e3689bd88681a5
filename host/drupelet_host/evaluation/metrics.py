"""Top-1 accuracy, of a PyTorch module and of a session in an engine."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from drupelet_host.data.dataset import Dataset, Labels
from drupelet_host.errors import DataError
from drupelet_shared.engines.base import Session

METRIC = "top1"
_BATCH = 256


def evaluate_module(model: nn.Module, dataset: Dataset) -> float:
    """The fraction of samples whose label has the highest score, 0 to 1; leaves the model in evaluation mode."""
    labels = _labels(dataset)
    model.eval()
    correct = 0
    with torch.inference_mode():
        for start in range(0, len(dataset), _BATCH):
            scores = model(torch.from_numpy(dataset.inputs[start : start + _BATCH]))
            correct += int((scores.argmax(dim=1).numpy() == labels[start : start + _BATCH]).sum())
    return correct / len(dataset)


def evaluate_session(session: Session, dataset: Dataset) -> float:
    """The same of a loaded model, one sample at a time as the device runs it."""
    labels = _labels(dataset)
    (spec,), (output,) = session.inputs, session.outputs
    correct = 0
    for sample, label in zip(dataset.inputs, labels, strict=True):
        scores = session.run({spec.name: sample[None]}, [output.name])[output.name]
        correct += int(np.argmax(scores) == label)
    return correct / len(dataset)


def _labels(dataset: Dataset) -> Labels:
    if dataset.labels is None:
        raise DataError(f"{METRIC} needs labels: the data has {len(dataset)} inputs and none")
    return dataset.labels
