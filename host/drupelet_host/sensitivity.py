"""How the metric falls as each group of channels is pruned: a curve for each, measured on copies."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from drupelet_host.errors import ModelError
from drupelet_host.progress import SILENT, Observer
from drupelet_host.pruning.groups import Importance, PrunableGroup, find_groups, remove_channels
from drupelet_host.pruning.recovery import Evaluate

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
    example_input: torch.Tensor,
    evaluate: Evaluate,
    *,
    ratios: Sequence[float] = DEFAULT_RATIOS,
    importance: Importance = "l2",
    observer: Observer = SILENT,
) -> dict[str, SensitivityCurve]:
    """Measure every prunable group at every ratio, each time on a fresh copy; the model is left as it is.

    Args:
        model: The model.
        example_input: An input it takes, batch first.
        evaluate: Gives a model's metric, higher is better.
        ratios: The fractions of channels to remove, each above 0 and below 1.
        importance: The norm that says which channels go first.
        observer: Is told how far it is.

    Raises:
        ModelError: A ratio is out of range, or the model cannot be traced.
    """
    wrong = [ratio for ratio in ratios if not 0 < ratio < 1]
    if wrong or not ratios:
        raise ModelError(f"ratios {list(ratios)}: expected at least one, each above 0 and below 1")
    groups = find_groups(model, example_input)
    baseline = evaluate(copy.deepcopy(model))
    total = len(groups) * len(ratios)
    curves = {}
    for position, group in enumerate(groups):
        points = [(0.0, baseline)]
        for number, ratio in enumerate(sorted(ratios), start=1):
            points.append(
                (ratio, _metric_at(model, example_input, evaluate, group, ratio=ratio, importance=importance))
            )
            observer.progressed(f"{group.name} at {ratio:.0%}", done=position * len(ratios) + number, total=total)
        curves[group.name] = SensitivityCurve(group.name, group.channels, tuple(points))
    return curves


def _metric_at(
    model: nn.Module,
    example_input: torch.Tensor,
    evaluate: Evaluate,
    group: PrunableGroup,
    *,
    ratio: float,
    importance: Importance,
) -> float:
    trial = copy.deepcopy(model).requires_grad_(requires_grad=True)
    count = min(group.channels - 1, round(group.channels * ratio))
    remove_channels(trial, example_input, {group.name: count}, importance=importance)
    return evaluate(trial)
