"""Runs a PyTorch module or a session over samples and scores the outputs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from drupelet_host.data.dataset import Dataset
from drupelet_host.data.inputs import Inputs
from drupelet_host.data.samples import Samples, Tensors, split_rows
from drupelet_host.evaluation.metrics import TOP1, Metric
from drupelet_host.torch_models.device import device_of, on_device
from drupelet_host.torch_models.inputs import ModuleInputs, make_tensors, map_inputs, run_module, split_inputs
from drupelet_host.torch_models.outputs import name_outputs
from drupelet_shared.engines.base import Session

_BATCH = 256
# On a GPU, a small model's time goes to kernel launches, so larger batches are faster.
_GPU_BATCH = 2048


def answer_module(model: nn.Module, inputs: Inputs, *, names: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """Compute a module's outputs over all inputs, on the module's own device.

    Args:
        model: The module; it is left in evaluation mode.
        inputs: Inputs of shape (samples, ...), by name where there are several.
        names: The names of the outputs, in the module's order; by default the module's own or generated ones.

    Returns:
        The outputs by name, of shape (samples, ...).
    """
    model.eval()
    device = device_of(model)
    parts = split_inputs(make_tensors(inputs), _GPU_BATCH if device.type == "cuda" else _BATCH)
    with torch.inference_mode():
        batches = [name_outputs(run_module(model, _move(part, device)), names=names) for part in parts]
    return {name: np.concatenate([batch[name].cpu().numpy() for batch in batches]) for name in batches[0]}


def evaluate_module(
    model: nn.Module,
    dataset: Dataset,
    metric: Metric = TOP1,
    *,
    names: Sequence[str] = (),
    device: torch.device | None = None,
) -> float:
    """Compute the metric of a module over a dataset.

    Args:
        model: The module; it is left in evaluation mode.
        dataset: The samples, with labels or reference outputs where the metric needs them.
        metric: Scores the outputs.
        names: The names of the outputs, in the module's order.
        device: The device that computes; the module is moved back to its own device afterwards.

    Returns:
        The metric's value; higher is better.

    Raises:
        DataError: The metric needs labels or reference outputs that the data does not have.
    """
    count = len(dataset)
    with on_device(model, device or device_of(model)):
        answers = split_rows(answer_module(model, dataset.inputs, names=names), count=count)
    expected = split_rows(dataset.answers, count=count) if dataset.answers else ()
    return metric.score(answers, labels=dataset.labels, expected=expected)


def _move(inputs: ModuleInputs, device: torch.device) -> ModuleInputs:
    return map_inputs(inputs, lambda values: values.to(device))


def answer_session(session: Session, feeds: Sequence[Tensors]) -> list[Tensors]:
    """Compute a loaded model's outputs for each sample, one inference at a time as on the device."""
    names = [output.name for output in session.outputs]
    return [session.run(feed, names) for feed in feeds]


def evaluate_session(session: Session, samples: Samples, metric: Metric = TOP1) -> float:
    """Compute the metric of a loaded model.

    Args:
        session: The loaded model.
        samples: The samples, with labels or reference outputs where the metric needs them.
        metric: Scores the outputs.

    Returns:
        The metric's value; higher is better.

    Raises:
        DataError: The metric needs labels or reference outputs that the data does not have.
    """
    answers = answer_session(session, samples.feeds)
    return metric.score(answers, labels=samples.labels, expected=samples.answers)
