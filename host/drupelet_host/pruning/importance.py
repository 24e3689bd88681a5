"""Which channels go first: by the size of their weights, or by what the loss says they are worth."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from drupelet_host.compute.backend import ComputeBackend, Task, run_tasks
from drupelet_host.compute.in_process import IN_PROCESS
from drupelet_host.data.dataset import Dataset
from drupelet_host.errors import ModelError
from drupelet_host.pruning.structure.groups import Importance, PrunableGroup, find_groups, remove_channels
from drupelet_host.pruning.structure.trial import TRIAL_SAMPLES
from drupelet_host.pruning.widths import channels_to_keep
from drupelet_host.torch_models.device import CPU, on_device
from drupelet_host.torch_models.inputs import ModuleInputs, make_tensors, map_inputs, run_module, take_samples
from drupelet_host.torch_models.outputs import name_outputs
from drupelet_host.torch_models.weight_norm import bake_weights
from drupelet_host.training.batch_norm import reestimate_statistics
from drupelet_host.training.distillation import Outputs, is_scores
from drupelet_host.training.recovery import Evaluate

_SAMPLES = 256
_BATCH = 64


def prune_least_important(
    model: nn.Module,
    example_input: ModuleInputs,
    removals: Mapping[str, int],
    *,
    importance: Importance,
    samples: Dataset | None,
    device: torch.device = CPU,
) -> None:
    """Remove the least important channels, in place.

    Args:
        model: The model; its parameters take gradients.
        example_input: An input it takes.
        removals: How many channels go, by the name of the group.
        importance: "taylor" is the first-order change of the loss (Molchanov et al., "Importance Estimation for Neural
            Network Pruning", 2019), the others are norms.
        samples: From `label_samples`; only "taylor" looks at them.
        device: Where the loss is computed.

    Raises:
        ModelError: A group is not there or would lose all its channels, or there are no samples where some are needed.
    """
    # Before the gradients: they belong to the weights that are cut.
    bake_weights(model)
    if importance == "taylor":
        if samples is None:
            raise ModelError("importance 'taylor' needs samples: there are none")
        _accumulate_gradients(model, samples, device)
    remove_channels(model, example_input, removals, importance=importance)
    model.zero_grad(set_to_none=True)


def label_samples(model: nn.Module, train: Dataset) -> Dataset:
    """Return a few training samples with labels; without labels, with a classifier's own predictions, or none."""
    inputs = train.first(_SAMPLES)
    if train.labels is not None:
        return Dataset(inputs, train.labels[:_SAMPLES])
    with torch.inference_mode():
        outputs = name_outputs(run_module(copy.deepcopy(model).eval(), make_tensors(inputs)))
    if not is_scores(outputs):
        return Dataset(inputs, None)
    (scores,) = outputs.values()
    return Dataset(inputs, scores.argmax(dim=1).numpy())


def compare_importances(
    model: nn.Module,
    train: Dataset,
    evaluate: Evaluate,
    *,
    ratio: float,
    candidates: Sequence[Importance],
    channel_multiple: int,
    device: torch.device = CPU,
    compute: ComputeBackend = IN_PROCESS,
) -> dict[Importance, float]:
    """Prune every group at one ratio by each importance and measure the metric, without fine-tuning.

    Args:
        model: The model; it is not changed.
        train: Data for Taylor scores and batch-norm statistics.
        evaluate: Returns a model's metric; higher is better.
        ratio: The fraction of channels to remove.
        candidates: The importances to compare.
        channel_multiple: Layer widths stay multiples of this.
        device: Where the copies run.
        compute: What measures the copies.

    Returns:
        The metric by importance.

    Raises:
        ModelError: The model cannot be traced.
    """
    example_input, trial_samples = make_tensors(train.first(1)), make_tensors(train.spread(TRIAL_SAMPLES))
    groups = find_groups(model, example_input, samples=trial_samples)
    removals = _removals(groups, ratio=ratio, multiple=channel_multiple)
    bench = compute.share(_ImportanceBench(removals, train, label_samples(model, train), evaluate, device))
    shared = compute.share(model)
    tasks = [Task(f"importance {name}", measure_importance, (shared, bench, name)) for name in candidates]
    return dict(zip(candidates, run_tasks(compute, tasks), strict=True))


@dataclass(frozen=True, slots=True)
class _ImportanceBench:
    """What compares importances."""

    removals: Mapping[str, int]
    train: Dataset
    samples: Dataset
    evaluate: Evaluate
    device: torch.device


def measure_importance(model: nn.Module, bench: _ImportanceBench, importance: Importance) -> float:
    """Return the metric of a copy that is pruned by an importance, without fine-tuning.

    Args:
        model: The model; it is left as it is.
        bench: What is removed, and what measures.
        importance: The importance.
    """
    trial = copy.deepcopy(model).requires_grad_(requires_grad=True)
    example_input = make_tensors(bench.train.first(1))
    prune_least_important(
        trial, example_input, bench.removals, importance=importance, samples=bench.samples, device=bench.device
    )
    with on_device(trial, bench.device):
        reestimate_statistics(trial, make_tensors(bench.train.inputs))
    return bench.evaluate(trial)


def _removals(groups: tuple[PrunableGroup, ...], *, ratio: float, multiple: int) -> dict[str, int]:
    kept = {
        group.name: channels_to_keep(
            group.channels, ratio=ratio, multiple=math.lcm(multiple, group.multiple), minimum=group.minimum
        )
        for group in groups
    }
    return {group.name: group.channels - kept[group.name] for group in groups}


def _accumulate_gradients(model: nn.Module, samples: Dataset, device: torch.device) -> None:
    model.eval()
    model.zero_grad(set_to_none=True)
    inputs = make_tensors(samples.inputs)
    labels = None if samples.labels is None else torch.from_numpy(samples.labels)
    with on_device(model, device), torch.inference_mode(mode=False), torch.enable_grad():
        for start in range(0, len(samples), _BATCH):
            part = slice(start, start + _BATCH)
            batch = map_inputs(take_samples(inputs, part), lambda values: values.to(device))
            outputs = name_outputs(run_module(model, batch))
            _worth(outputs, None if labels is None else labels[part].to(device)).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    for parameter in model.parameters():
        if parameter.grad is None:
            # No output depends on it, as on the last layer of a residual path whose sum nothing reads.
            parameter.grad = torch.zeros_like(parameter)


def _worth(outputs: Outputs, labels: torch.Tensor | None) -> torch.Tensor:
    """Return the quantity that channels are scored by: a classifier's loss, or the mean square of other outputs."""
    if labels is not None and is_scores(outputs):
        (scores,) = outputs.values()
        return functional.cross_entropy(scores, labels)
    return torch.stack([tensor.square().mean() for tensor in outputs.values() if tensor.is_floating_point()]).sum()
