"""Where the next step of a search leads: channels that together save what was asked for, counted as they go."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from dataclasses import replace

import torch
from torch import nn

from drupelet_host.evaluation.cost import count_macs, count_parameters
from drupelet_host.pruning.search.choice import ChannelChoice
from drupelet_host.pruning.search.savings import CostWeights, channel_savings
from drupelet_host.pruning.structure.groups import remove_channels

# What a channel saves is a line only for a while: the channels beside it in the next layers go too.
_LARGEST_PART = 0.25


def plan_step(
    model: nn.Module,
    example_input: torch.Tensor,
    channels: Mapping[str, int],
    *,
    goal: float,
    choice: ChannelChoice,
    weights: CostWeights,
    blocked: Collection[str] = (),
) -> dict[str, int]:
    """Return the channels of each group after a step; unchanged where nothing can be removed.

    Args:
        model: The model as it is now; it is left as it is.
        example_input: An input it takes.
        channels: The channels of each group now.
        goal: The share of the model's cost that goes, at least, where there is that much.
        choice: What the choice is made from; its savings are counted here.
        weights: What counts as cost.
        blocked: Groups that are left alone.
    """
    trial, chosen = copy.deepcopy(model).requires_grad_(requires_grad=True), dict(channels)
    whole, left = (count_parameters(model), count_macs(model, example_input)), 1.0
    while left > 1 - goal:
        savings = channel_savings(trial, example_input, chosen, weights=weights)
        allowed = {name: saving for name, saving in savings.items() if name not in blocked}
        part = min(_LARGEST_PART, 1 - (1 - goal) / left)
        narrower = replace(choice, savings=allowed).choose(chosen, goal=part)
        if narrower == chosen:
            break
        removals = {name: chosen[name] - count for name, count in narrower.items()}
        remove_channels(trial, example_input, removals, importance="l2")
        chosen = narrower
        left = weights.parameters * count_parameters(trial) / whole[0]
        left += weights.macs * count_macs(trial, example_input) / whole[1]
    return chosen
