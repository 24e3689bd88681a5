"""What a channel of each group costs in the model as it is now."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from drupelet_host.evaluation.cost import count_macs, count_parameters
from drupelet_host.pruning.rewriting.preparation import prepare_for_pruning
from drupelet_host.pruning.structure.candidates import find_candidate
from drupelet_host.pruning.structure.slices import cut_slices
from drupelet_host.pruning.structure.tracing import Trace
from drupelet_host.pruning.structure.unprunable import Unprunable


@dataclass(frozen=True, slots=True)
class CostWeights:
    """How much a share of the parameters (size) and of the multiply-accumulates (latency) counts; they add up to 1."""

    parameters: float = 0.5
    macs: float = 0.5


def channel_savings(
    model: nn.Module, example_input: torch.Tensor, channels: Mapping[str, int], *, weights: CostWeights
) -> dict[str, float]:
    """Return the share of the model's cost that one channel of each group accounts for, counted on smaller copies.

    Args:
        model: The model; it is not changed.
        channels: The number of channels of each group now.
        weights: The weights of parameters and multiply-accumulates in the cost.
        example_input: An input it takes.
    """
    rewritten = copy.deepcopy(model)
    prepare_for_pruning(rewritten, example_input)
    trace = Trace(rewritten, example_input)
    parameters, macs = count_parameters(rewritten), count_macs(rewritten, example_input)
    savings = {}
    for name in channels:
        root = trace.root(name)
        candidate = find_candidate(rewritten, trace, root)
        if isinstance(candidate, Unprunable) or candidate.half == 0:
            continue
        removed = candidate.half
        trial = copy.deepcopy(rewritten)
        cut_slices(trial, candidate.select(rewritten, removed, importance="l2"))
        saved_parameters = 1 - count_parameters(trial) / parameters
        saved_macs = 1 - count_macs(trial, example_input) / macs
        savings[name] = (weights.parameters * saved_parameters + weights.macs * saved_macs) / removed
    return savings
