"""Checks of a traced coupling against the layers: a tracer may name channels that a layer does not have."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import nn

from drupelet_host.pruning.flow.components import Component
from drupelet_host.pruning.structure.recurrent import directions
from drupelet_host.pruning.structure.slices import CONVOLUTION, Slice, find_target
from drupelet_host.pruning.structure.unprunable import Unprunable


def check_coupling(model: nn.Module, slices: Sequence[Slice], channels: int) -> Unprunable | None:
    """Check every slice of a root's coupling against the layer that it names.

    Args:
        model: The traced model.
        slices: The coupling of all the root's channels.
        channels: The number of the root's channels.

    Returns:
        The first mismatch, or None where every index exists.
    """
    for piece in slices:
        width = _width(find_target(model, piece.layer), piece)
        if width is not None and any(not 0 <= index < width for index in piece.indices):
            return Unprunable(f"the trace names channel {max(piece.indices)} of {piece.layer}, which has {width}")
        if len(piece.roots) != len(piece.indices) or any(not 0 <= root < channels for root in piece.roots):
            return Unprunable(f"the trace does not tell whose channels those of {piece.layer} are")
    return None


def check_subset(coupling: Sequence[Slice], subset: Sequence[Slice], chosen: Collection[int]) -> Unprunable | None:
    """Check that removing some channels touches exactly those that the coupling of all channels assigns to them.

    Layers that split their input (chunk, split, GLU, pixel shuffle) break this: a channel then belongs to a channel of
    another part, and removing one removes others that no one chose.

    Args:
        coupling: The coupling of all the root's channels.
        subset: The coupling of the chosen channels.
        chosen: The chosen channels of the root.

    Returns:
        The first difference, or None.
    """
    expected, traced = _indices(coupling, set(chosen)), _indices(subset, None)
    for key in expected.keys() | traced.keys():
        if expected.get(key, set()) != traced.get(key, set()):
            return Unprunable(f"the channels of {key[0]} do not follow its channels one by one: the model splits them")
    return None


def check_against_flow(model: nn.Module, slices: Sequence[Slice], component: Component) -> bool:
    """Return whether a coupling names the same channels of the same layers as the operators do, and of no other layer.

    Args:
        model: The traced model.
        slices: The coupling of all the root's channels.
        component: What following the operators found for the same root.
    """
    followed = {
        (place.layer, place.side): {index for index, position in enumerate(positions) if position >= 0}
        for place, positions in component.places.items()
        if isinstance(find_target(model, place.layer), (CONVOLUTION, nn.Linear))
    }
    coupled = {
        (layer, side): indices
        for (layer, side), indices in _indices(slices, None).items()
        if isinstance(find_target(model, layer), (CONVOLUTION, nn.Linear))
    }
    return {key: _in_one_group(model, key, indices) for key, indices in coupled.items()} == followed


def _in_one_group(model: nn.Module, key: tuple[str, str], indices: set[int]) -> set[int]:
    target = find_target(model, key[0])
    if isinstance(target, CONVOLUTION) and key[1] == "in" and target.groups > 1:
        width = target.in_channels // target.groups
        return {index % width for index in indices}
    return indices


def _indices(slices: Sequence[Slice], roots: set[int] | None) -> dict[tuple[str, str], set[int]]:
    indices: dict[tuple[str, str], set[int]] = {}
    for piece in slices:
        pairs = zip(piece.indices, piece.roots, strict=True)
        own = {index for index, root in pairs if roots is None or root in roots}
        if own:
            indices.setdefault((piece.layer, piece.side), set()).update(own)
    return indices


def _width(target: nn.Module | torch.Tensor, piece: Slice) -> int | None:
    """Count the channels of a target on the side of the slice; None for a layer that has no channels of its own."""
    is_output = piece.side == "out"
    match target:
        case torch.Tensor():
            width = target.shape[piece.axis]
        case CONVOLUTION():
            width = target.out_channels if is_output else target.in_channels
        case nn.Linear():
            width = target.out_features if is_output else target.in_features
        case nn.LSTM() | nn.GRU() | nn.RNN():
            width = target.hidden_size * directions(target) if is_output else target.input_size
        case nn.Embedding():
            width = target.embedding_dim
        case nn.GroupNorm():
            width = target.num_channels
        case _:
            weight = getattr(target, "weight", None)
            # One weight for all channels, as in a plain PReLU, is no channel.
            per_channel = isinstance(weight, torch.Tensor) and weight.ndim == 1 and len(weight) > 1
            return len(weight) if isinstance(weight, torch.Tensor) and per_channel else None
    return width
