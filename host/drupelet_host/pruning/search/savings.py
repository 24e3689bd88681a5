"""What a channel of each group costs in the model as it is now."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from drupelet_host.evaluation.cost import count_macs, count_parameters
from drupelet_host.pruning.structure.attention_rewriting import loosen_attention
from drupelet_host.pruning.structure.candidates import find_candidate
from drupelet_host.pruning.structure.slices import cut_slices
from drupelet_host.pruning.structure.tracing import Trace


@dataclass(frozen=True, slots=True)
class CostWeights:
    """How much a share of the parameters (size) and of the multiply-accumulates (latency) counts; they add up to 1."""

    parameters: float = 0.5
    macs: float = 0.5


def channel_savings(
    model: nn.Module, example_input: torch.Tensor, channels: Mapping[str, int], *, weights: CostWeights
) -> dict[str, float]:
    """The share of the model's cost that goes with one channel of each group, counted on smaller copies.

    Args:
        model: The model; it is left as it is.
        example_input: An input it takes.
        channels: How many channels each group has now.
        weights: What counts as cost.
    """
    loose = copy.deepcopy(model).eval()
    loosen_attention(loose, example_input)
    trace = Trace(loose, example_input)
    parameters, macs = count_parameters(loose), count_macs(loose, example_input)
    savings = {}
    for name, count in channels.items():
        root = trace.root(name)
        candidate = find_candidate(loose, trace, root, trace.coupling(root, range(count)))
        removed = 0 if isinstance(candidate, str) else candidate.half
        if removed == 0 or isinstance(candidate, str):
            continue
        trial = copy.deepcopy(loose)
        cut_slices(trial, trace.coupling(root, candidate.choose(loose, removed, importance="l2")).slices)
        saved_parameters = 1 - count_parameters(trial) / parameters
        saved_macs = 1 - count_macs(trial, example_input) / macs
        savings[name] = (weights.parameters * saved_parameters + weights.macs * saved_macs) / removed
    return savings
