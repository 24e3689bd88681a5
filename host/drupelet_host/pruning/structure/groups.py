"""The channels of a model that can only be removed together, and their removal."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from torch import nn

from drupelet_host.errors import ModelError
from drupelet_host.pruning.rewriting.preparation import prepare_for_pruning
from drupelet_host.pruning.structure.candidates import Candidate, find_candidate, find_sound
from drupelet_host.pruning.structure.slices import Importance, Slice, cut_slices
from drupelet_host.pruning.structure.tracing import Trace, called_layers
from drupelet_host.pruning.structure.unprunable import Unprunable
from drupelet_host.torch_models.inputs import ModuleInputs

__all__ = ["Importance", "PrunableGroup", "Role", "Structure", "find_groups", "find_structure", "remove_channels"]

_UNTRACED = "its outputs do not lead to the model's, as far as Torch-Pruning can see"
_UNUSED = "the model does not call it for the example input"

Role = Literal["first", "inner", "last"]


@dataclass(frozen=True, slots=True)
class PrunableGroup:
    """Channels that can only be removed together (Fang et al., "DepGraph", 2023).

    Attributes:
        name: The layer at its root; it stays the same as the model shrinks.
        channels: How many output channels that layer has.
        members: Every convolution, linear and recurrent layer that gets narrower with it.
        role: "first" holds the first layer's outputs, "last" feeds the last layer.
        multiple: Only multiples of this many channels can go: grouped convolutions, group norms, the heads of attention
            and the two directions of recurrent layers must lose as many from each of their parts.
        minimum: The fewest channels that must stay.
    """

    name: str
    channels: int
    members: tuple[str, ...]
    role: Role
    multiple: int = 1
    minimum: int = 1

    def removable(self, count: int) -> int:
        """The largest number of channels that can go, of `count` at most."""
        return max(0, min(count, self.channels - self.minimum)) // self.multiple * self.multiple


@dataclass(frozen=True, slots=True)
class Structure:
    """What of a model can be pruned.

    Attributes:
        groups: The groups that can be pruned without changing the shape of any output.
        unpruned: Why not, in words, for every layer with weights that is in none of them.
    """

    groups: tuple[PrunableGroup, ...]
    unpruned: Mapping[str, str]


def find_groups(
    model: nn.Module, example_input: ModuleInputs, *, samples: ModuleInputs | None = None
) -> tuple[PrunableGroup, ...]:
    """Return the groups of `find_structure`.

    Args:
        model: The model.
        example_input: An input it takes.
        samples: As in `find_structure`.

    Returns:
        The groups.
    """
    return find_structure(model, example_input, samples=samples).groups


def find_structure(model: nn.Module, example_input: ModuleInputs, *, samples: ModuleInputs | None = None) -> Structure:
    """What can be pruned and why the rest cannot; the model is left as it is.

    A group is taken only if a copy of the model that has lost half of it still runs, keeps its outputs' shapes, and
    computes what the whole model computes with those channels at zero, on every sample. The same model gives the same
    groups in the same order.

    Args:
        model: The model.
        example_input: An input it takes.
        samples: A few real samples on which removals are tried; the example input by default.

    Returns:
        The groups, and why other layers are in none.

    Raises:
        ModelError: The model's dependencies cannot be traced.
    """
    rewritten = copy.deepcopy(model)
    prepare_for_pruning(rewritten, example_input)
    called = called_layers(rewritten, example_input)
    if not called:
        return Structure((), {})
    trace = Trace(rewritten, example_input)
    candidates, faults = find_sound(rewritten, trace, example_input if samples is None else samples)
    groups = tuple(_describe(candidate, trace, first=called[0], last=called[-1]) for candidate in candidates)
    return Structure(groups, _explain(trace, groups=groups, faults=faults, called=called))


def remove_channels(
    model: nn.Module, example_input: ModuleInputs, removals: Mapping[str, int], *, importance: Importance
) -> None:
    """Remove the least important channels, in place: the model's layers really get smaller.

    Attention gives way to attention with an inner width of its own, and weights that are computed from others to plain
    ones, see `prepare_for_pruning`.

    Args:
        model: The model; it is left in evaluation mode.
        example_input: An input it takes.
        removals: How many channels go, by the name of the group.
        importance: The norm of a channel's weights, over the whole group, or the product of weights and gradients,
            which the parameters must then hold.

    Raises:
        ModelError: A group is not there, or has not that many channels to lose; no layer has lost any then.
    """
    prepare_for_pruning(model, example_input)
    trace = Trace(model, example_input)
    cut_slices(model, [piece for item in removals.items() for piece in choose_slices(model, trace, *item, importance)])


def choose_slices(model: nn.Module, trace: Trace, name: str, count: int, importance: Importance) -> tuple[Slice, ...]:
    """Return the weights that belong to the least important channels of a group.

    Args:
        model: The model, its attention rewritten.
        trace: Its dependencies.
        name: The name of the group.
        count: The number of channels to remove.
        importance: As in `remove_channels`.

    Raises:
        ModelError: The group does not exist, or has not that many channels to remove.
    """
    root = trace.root(name)
    channels = trace.channels(root)
    if not 0 <= count < channels:
        raise ModelError(f"group {name!r} has {channels} channels: {count} of them cannot be removed")
    if count == 0:
        return ()
    candidate = find_candidate(model, trace, root)
    if isinstance(candidate, Unprunable):
        raise ModelError(f"group {name!r} cannot be pruned: {candidate.reason}")
    if count % candidate.multiple or channels - count < candidate.minimum:
        limits = f"a multiple of {candidate.multiple}, and {candidate.minimum} must stay"
        raise ModelError(f"group {name!r} has {channels} channels: {count} of them cannot be removed, only {limits}")
    return candidate.select(model, count, importance=importance)


def _describe(candidate: Candidate, trace: Trace, *, first: str, last: str) -> PrunableGroup:
    layers = [piece.layer for piece in candidate.slices if piece.layer in trace.layers]
    role: Role = "first" if first in layers else "last" if last in layers else "inner"
    members = tuple(dict.fromkeys(trace.public[layer] for layer in layers))
    return PrunableGroup(candidate.name, candidate.channels, members, role, candidate.multiple, candidate.minimum)


def _explain(
    trace: Trace, *, groups: tuple[PrunableGroup, ...], faults: Mapping[str, str], called: Collection[str]
) -> dict[str, str]:
    pruned = {member for group in groups for member in group.members}
    reasons = {}
    for layer in trace.layers:
        name = trace.public[layer]
        if name not in pruned:
            unseen = _UNTRACED if layer in called else _UNUSED
            reasons[name] = faults.get(layer, unseen)
    return reasons
