"""Groups whose channels are followed operator by operator, where the model's code splits, joins or shuffles them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

from drupelet_host.pruning.flow.components import Component
from drupelet_host.pruning.flow.cutting import ChannelCutter
from drupelet_host.pruning.flow.places import Place
from drupelet_host.pruning.structure.slices import (
    CONVOLUTION,
    Importance,
    Slice,
    find_target,
    is_depthwise,
    score_slices,
)


@dataclass(frozen=True, slots=True)
class FlowCandidate:
    """Channels that lose equal shares together.

    Attributes:
        name: The root layer's, as the model came.
        component: The channels.
        slices: What they are in each layer; their roots are positions of the component's classes.
        shares_left: How many equal shares must stay.
    """

    name: str
    component: Component
    slices: tuple[Slice, ...]
    shares_left: int

    @property
    def root(self) -> str:
        """The root layer, as it is called in the traced model."""
        return self.component.root.layer

    @property
    def channels(self) -> int:
        """How many outputs the root layer has."""
        return self.component.width

    @property
    def multiple(self) -> int:
        """How many of them go at once."""
        return self.component.width // max(1, self.component.units)

    @property
    def minimum(self) -> int:
        """How many of them must stay."""
        return self.shares_left * self.multiple

    @property
    def half(self) -> int:
        """About half of them, as many as can go together; 0 where none can."""
        units = self.component.units
        return max(0, min(max(1, units // 2), units - self.shares_left)) * self.multiple

    def select(
        self, model: nn.Module, count: int, *, importance: Importance, largest: bool = False
    ) -> tuple[Slice, ...]:
        """Return the slices of the least important channels.

        Args:
            model: The model.
            count: The number of the root's channels.
            importance: The measure of importance.
            largest: Whether to choose the most important channels instead.
        """
        scores = score_slices(model, self.slices, len(self.component.classes), importance=importance)
        chosen = self.component.choose(-scores if largest else scores, count // self.multiple)
        return _restrict(self.slices, chosen)


def make_flow_candidate(model: nn.Module, name: str, component: Component) -> FlowCandidate:
    """Make the candidate of a component.

    Args:
        model: The traced model.
        name: What its root is called in the model as it came.
        component: The component.

    Returns:
        The candidate.
    """
    slices = tuple(_slice(model, place, positions) for place, positions in component.places.items())
    # With one channel in each group a grouped convolution would become a depthwise one.
    grouped = any(_is_grouped(find_target(model, place.layer)) for place in component.places)
    return FlowCandidate(name, component, slices, shares_left=2 if grouped else 1)


def _is_grouped(target: nn.Module | torch.Tensor) -> bool:
    return isinstance(target, CONVOLUTION) and target.groups > 1 and not is_depthwise(target)


def _slice(model: nn.Module, place: Place, positions: tuple[int, ...]) -> Slice:
    target = find_target(model, place.layer)
    if isinstance(target, CONVOLUTION) and place.side == "in" and target.groups > 1 and not target.transposed:
        # The weight has a place for each input of one group; all groups have them. A transposed one has all inputs.
        positions *= target.groups
    indices = [index for index, position in enumerate(positions) if position >= 0]
    roots = tuple(positions[index] for index in indices)
    return Slice(place.layer, place.side, tuple(indices), roots, ChannelCutter(place.side).cut, place.axis)


def _restrict(slices: Iterable[Slice], chosen: Iterable[int]) -> tuple[Slice, ...]:
    classes = set(chosen)
    restricted = []
    for piece in slices:
        pairs = [pair for pair in zip(piece.indices, piece.roots, strict=True) if pair[1] in classes]
        if pairs:
            indices, roots = zip(*pairs, strict=True)
            restricted.append(Slice(piece.layer, piece.side, indices, roots, piece.cut, piece.axis))
    return tuple(restricted)
