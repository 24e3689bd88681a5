"""How the metric falls as each group of channels is pruned: a curve for each, measured on copies."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from drupelet_host.compute.backend import ComputeBackend, Task, run_tasks
from drupelet_host.compute.in_process import IN_PROCESS
from drupelet_host.data.dataset import Dataset
from drupelet_host.errors import ModelError
from drupelet_host.progress.observer import SILENT, Observer
from drupelet_host.pruning.importance import prune_least_important
from drupelet_host.pruning.structure.groups import Importance, find_groups
from drupelet_host.torch_models.device import CPU
from drupelet_host.torch_models.inputs import ModuleInputs
from drupelet_host.training.recovery import Evaluate

DEFAULT_RATIOS = (0.25, 0.5, 0.75)


@dataclass(frozen=True, slots=True)
class SensitivityCurve:
    """The metric of the whole model with one group pruned at each ratio and everything else untouched.

    Attributes:
        group: The group's name.
        channels: How many channels it has unpruned.
        points: (pruning ratio, metric), ascending, the first at ratio 0.
    """

    group: str
    channels: int
    points: tuple[tuple[float, float], ...]

    @property
    def robustness(self) -> float:
        """The mean metric of the pruned points relative to the unpruned one; 1 is a group that costs nothing."""
        (_, baseline), *pruned = self.points
        return sum(metric for _, metric in pruned) / len(pruned) / baseline if baseline > 0 else 1.0


def analyze_sensitivity(
    model: nn.Module,
    example_input: ModuleInputs,
    evaluate: Evaluate,
    *,
    ratios: Sequence[float] = DEFAULT_RATIOS,
    importance: Importance = "l2",
    samples: Dataset | None = None,
    observer: Observer = SILENT,
    device: torch.device = CPU,
    compute: ComputeBackend = IN_PROCESS,
    trial_samples: ModuleInputs | None = None,
) -> dict[str, SensitivityCurve]:
    """Measure every prunable group at every ratio, each time on a fresh copy; the model is left as it is.

    Args:
        model: The model.
        example_input: An input it takes, batch first.
        evaluate: Gives a model's metric, higher is better.
        ratios: The fractions of channels to remove, each above 0 and below 1.
        importance: What says which channels go first.
        samples: Labelled training samples; only the importance "taylor" needs them.
        observer: Is told how far it is.
        device: Where the importance "taylor" computes the loss.
        compute: What measures the points.
        trial_samples: A few real samples on which removals are tried; the example input by default.

    Returns:
        The curve of each group by name.

    Raises:
        ModelError: A ratio is out of range, or the model cannot be traced.
    """
    wrong = [ratio for ratio in ratios if not 0 < ratio < 1]
    if wrong or not ratios:
        raise ModelError(f"ratios {list(ratios)}: expected at least one, each above 0 and below 1")
    groups = find_groups(model, example_input, samples=trial_samples)
    pruned = compute.share(model)
    bench = compute.share(_PointBench(example_input, evaluate, importance, samples, device))
    points = [(group, ratio) for group in groups for ratio in sorted(ratios)]
    tasks = [
        Task(
            f"{group.name} at {ratio:.0%}",
            measure_point,
            (pruned, bench, group.name, group.removable(round(group.channels * ratio))),
        )
        for group, ratio in points
    ]
    unpruned = Task("unpruned", measure_point, (pruned, bench, "", 0))

    def report(name: str, done: int, total: int) -> None:
        # The unpruned model is no point of a curve.
        if done > 1:
            observer.progressed(name, done=done - 1, total=total - 1)

    baseline, *metrics = run_tasks(compute, [unpruned, *tasks], on_done=report)
    measured = dict(zip([(group.name, ratio) for group, ratio in points], metrics, strict=True))
    return {
        group.name: SensitivityCurve(
            group.name,
            group.channels,
            ((0.0, baseline), *((ratio, measured[group.name, ratio]) for ratio in sorted(ratios))),
        )
        for group in groups
    }


@dataclass(frozen=True, slots=True)
class _PointBench:
    """What measures the points of all curves."""

    example_input: ModuleInputs
    evaluate: Evaluate
    importance: Importance
    samples: Dataset | None
    device: torch.device


def measure_point(model: nn.Module, bench: _PointBench, group: str, channels: int) -> float:
    """Return the metric of a copy without the least important channels of a group.

    Args:
        model: The model; it is left as it is.
        bench: What measures.
        group: The name of the group; "" for the unpruned model.
        channels: How many channels go.
    """
    trial = copy.deepcopy(model)
    if group:
        trial.requires_grad_(requires_grad=True)
        prune_least_important(
            trial,
            bench.example_input,
            {group: channels},
            importance=bench.importance,
            samples=bench.samples,
            device=bench.device,
        )
    return bench.evaluate(trial)
