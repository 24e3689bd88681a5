"""Running a PyTorch module or a session over samples, and scoring what came out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from drupelet_host.data.dataset import Dataset, Inputs
from drupelet_host.data.samples import Samples, Tensors, split_rows
from drupelet_host.evaluation.metrics import TOP1, Metric
from drupelet_host.torch_models.device import device_of, on_device
from drupelet_host.torch_models.outputs import name_outputs
from drupelet_shared.engines.base import Session

_BATCH = 256
# Launches, not arithmetic, take a small model's time on a GPU.
_GPU_BATCH = 2048


def answer_module(model: nn.Module, inputs: Inputs, *, names: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """The outputs of a module by name, of shape (samples, ...), computed where it is; leaves it in evaluation mode."""
    model.eval()
    device = device_of(model)
    parts = torch.split(torch.from_numpy(inputs), _GPU_BATCH if device.type == "cuda" else _BATCH)
    with torch.inference_mode():
        batches = [name_outputs(model(part.to(device)), names=names) for part in parts]
    return {name: np.concatenate([batch[name].cpu().numpy() for batch in batches]) for name in batches[0]}


def evaluate_module(
    model: nn.Module,
    dataset: Dataset,
    metric: Metric = TOP1,
    *,
    names: Sequence[str] = (),
    device: torch.device | None = None,
) -> float:
    """The metric of a module; leaves it in evaluation mode.

    Args:
        model: The module.
        dataset: What it is measured on.
        metric: Scores the answers.
        names: What its outputs are called, in its order.
        device: Where it computes; it is back where it was afterwards.

    Raises:
        DataError: The metric needs labels or answers that the data does not have.
    """
    count = len(dataset)
    with on_device(model, device or device_of(model)):
        answers = split_rows(answer_module(model, dataset.inputs, names=names), count=count)
    expected = split_rows(dataset.answers, count=count) if dataset.answers else ()
    return metric.score(answers, labels=dataset.labels, expected=expected)


def answer_session(session: Session, feeds: Sequence[Tensors]) -> list[Tensors]:
    """The outputs of a loaded model for each sample, one at a time as the device runs it."""
    names = [output.name for output in session.outputs]
    return [session.run(feed, names) for feed in feeds]


def evaluate_session(session: Session, samples: Samples, metric: Metric = TOP1) -> float:
    """The metric of a loaded model.

    Raises:
        DataError: The metric needs labels or answers that the data does not have.
    """
    answers = answer_session(session, samples.feeds)
    return metric.score(answers, labels=samples.labels, expected=samples.answers)
