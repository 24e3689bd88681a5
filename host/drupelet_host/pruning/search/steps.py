"""Where the next step of a search leads: channels that together save what was asked for, counted as they go."""

from __future__ import annotations

import copy
from collections.abc import Mapping

from torch import nn

from drupelet_host.pruning.search.choice import ChannelChoice
from drupelet_host.pruning.search.savings import CostMeasure, measure_savings
from drupelet_host.pruning.structure.groups import remove_channels
from drupelet_host.torch_models.inputs import ModuleInputs

# How the widths of layers follow from those of groups is a line only for a while.
_LARGEST_PART = 0.25


def plan_step(
    model: nn.Module,
    example_input: ModuleInputs,
    channels: Mapping[str, int],
    *,
    goal: float,
    choice: ChannelChoice,
    measure: CostMeasure,
) -> dict[str, int]:
    """Return the channels of each group after a step; unchanged where nothing can be removed.

    Args:
        model: The model as it is now; it is left as it is.
        example_input: An input it takes.
        channels: The channels of each group now.
        goal: The share of the model's cost that goes, at least, where there is that much.
        choice: What the choice is made from.
        measure: What counts as cost.
    """
    trial, chosen = copy.deepcopy(model).requires_grad_(requires_grad=True), dict(channels)
    whole, left = measure.count(model, example_input), 1.0
    while left > 1 - goal:
        savings = measure_savings(trial, example_input, chosen, measure=measure)
        part = min(_LARGEST_PART, 1 - (1 - goal) / left)
        narrower = choice.choose(savings, chosen, goal=part)
        if narrower == chosen:
            break
        removals = {name: chosen[name] - count for name, count in narrower.items()}
        remove_channels(trial, example_input, removals, importance="l2")
        chosen = narrower
        left = measure.share(measure.count(trial, example_input), whole)
    return chosen
