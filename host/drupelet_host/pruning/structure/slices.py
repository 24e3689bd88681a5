"""What the channels of a dependency group are in each layer's weights: cut off, set to zero, scored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import nn

from drupelet_host.pruning.structure.recurrent import RECURRENT, gate_rows, recurrent_weights

Importance = Literal["l1", "l2", "taylor"]

CONVOLUTION = nn.modules.conv._ConvNd  # noqa: SLF001 - torch has no public name for "any convolution"
_BATCH_NORM = nn.modules.batchnorm._BatchNorm  # noqa: SLF001 - as above


@dataclass(frozen=True, slots=True)
class Slice:
    """Channels of one layer, or of one parameter that belongs to no layer.

    Attributes:
        layer: The layer's or the parameter's name.
        side: Whether they are its outputs or its inputs; a norm's and a depthwise convolution's are both.
        indices: Which of its channels.
        roots: The root layer's channel that each of them belongs to.
        cut: Removes channels from the layer; returns the new value of a parameter.
        axis: The axis of the channels where they are not the layer's own business.
    """

    layer: str
    side: Literal["out", "in"]
    indices: tuple[int, ...]
    roots: tuple[int, ...]
    cut: Callable[[Any, list[int]], Any]
    axis: int


def cut_slices(model: nn.Module, slices: Iterable[Slice]) -> None:
    """Remove the channels, in place; all indices count the channels as they are now."""
    merged: dict[tuple[str, str], tuple[Slice, set[int]]] = {}
    for piece in slices:
        _, indices = merged.setdefault((piece.layer, piece.side), (piece, set()))
        indices.update(piece.indices)
    for piece, indices in merged.values():
        piece.cut.__self__.pruning_dim = piece.axis  # type: ignore[attr-defined]  # how torch-pruning passes it
        target = find_target(model, piece.layer)
        replacement = piece.cut(target, sorted(indices))
        if isinstance(target, torch.Tensor):
            parent, _, name = piece.layer.rpartition(".")
            setattr(model.get_submodule(parent), name, replacement)


def blank_slices(model: nn.Module, slices: Iterable[Slice]) -> None:
    """Set the weights of the channels to zero, in place: nothing comes out of them and nothing is made of them."""
    with torch.no_grad():
        for piece in slices:
            for part in _parts(find_target(model, piece.layer), piece):
                if not part.is_norm:
                    part.values.index_fill_(part.axis, torch.tensor(part.positions), 0.0)


def score_slices(model: nn.Module, slices: Iterable[Slice], channels: int, *, importance: Importance) -> torch.Tensor:
    """Return the importance of each of the root's channels, summed over the layers of the group.

    Args:
        model: The model.
        slices: The weights of the group.
        channels: The number of the root's channels.
        importance: The measure: powers of the weights, or |w x dL/dw|.

    Raises:
        AttributeError: The importance needs gradients that the parameters do not hold.
    """
    scores = torch.zeros(channels, dtype=torch.float64)
    with torch.no_grad():
        for piece in slices:
            for part in _parts(find_target(model, piece.layer), piece):
                # Norms have one number for a channel: in a sum of gradients they would only repeat the layer before.
                if part.is_bias or (part.is_norm and importance == "taylor"):
                    continue
                worth = _worth(part.values, importance).to(torch.float64).movedim(part.axis, 0)
                worth = worth.reshape(len(worth), -1).sum(dim=1)
                scores.index_add_(0, torch.tensor(part.roots), worth[torch.tensor(part.positions)])
    return scores


def find_target(model: nn.Module, name: str) -> nn.Module | torch.Tensor:
    """Return the layer, the parameter or the buffer of this name."""
    parent, _, child = name.rpartition(".")
    member = getattr(model.get_submodule(parent), child) if name else model
    assert isinstance(member, (nn.Module, torch.Tensor)), "the trace names nothing else"
    return member


def is_depthwise(layer: nn.Module) -> bool:
    """Whether each of the layer's outputs is made of one input of its own."""
    return isinstance(layer, CONVOLUTION) and 1 < layer.groups == layer.in_channels == layer.out_channels


@dataclass(frozen=True, slots=True)
class _Part:
    values: torch.Tensor
    axis: int
    positions: Sequence[int]
    roots: Sequence[int]
    is_bias: bool = False
    is_norm: bool = False


def _worth(values: torch.Tensor, importance: Importance) -> torch.Tensor:
    if importance == "taylor":
        assert values.grad is not None, "the caller has computed the gradients"
        return (values * values.grad).abs()
    return values.abs() if importance == "l1" else values.square()


def _parts(target: nn.Module | torch.Tensor, piece: Slice) -> Iterator[_Part]:
    if isinstance(target, torch.Tensor):
        # Buffers hold no weights: they say nothing about importance, and at zero they may divide.
        if isinstance(target, nn.Parameter):
            yield _Part(target, piece.axis % target.ndim, piece.indices, piece.roots)
    elif isinstance(target, RECURRENT):
        yield from _recurrent_parts(target, piece)
    elif isinstance(target, CONVOLUTION):
        yield from _convolution_parts(target, piece)
    elif isinstance(target, nn.Linear):
        yield from _layer_parts(target, piece, axis=0 if piece.side == "out" else 1)
    elif isinstance(target, nn.Embedding):
        yield _Part(target.weight, 1, piece.indices, piece.roots)
    elif isinstance(target, (_BATCH_NORM, nn.LayerNorm)) and target.weight is not None:
        yield _Part(target.weight, target.weight.ndim - 1, piece.indices, piece.roots, is_norm=True)


def _layer_parts(layer: nn.Linear | nn.modules.conv._ConvNd, piece: Slice, *, axis: int) -> Iterator[_Part]:
    yield _Part(layer.weight, axis, piece.indices, piece.roots)
    if piece.side == "out" and layer.bias is not None:
        yield _Part(layer.bias, 0, piece.indices, piece.roots, is_bias=True)


def _convolution_parts(layer: nn.modules.conv._ConvNd, piece: Slice) -> Iterator[_Part]:
    if is_depthwise(layer):
        yield from _layer_parts(layer, replace(piece, side="out"), axis=0)
        return
    axis = int(layer.transposed) if piece.side == "out" else 1 - int(layer.transposed)
    # The groups share the weight's second axis: inputs, or the outputs of a transposed convolution.
    shared = layer.groups > 1 and axis == 1
    width = layer.weight.shape[1] if shared else max(layer.in_channels, layer.out_channels)
    yield _Part(layer.weight, axis, [index % width for index in piece.indices], piece.roots)
    if piece.side == "out" and layer.bias is not None:
        yield _Part(layer.bias, 0, piece.indices, piece.roots, is_bias=True)


def _recurrent_parts(layer: nn.RNNBase, piece: Slice) -> Iterator[_Part]:
    for name, depth, direction in recurrent_weights(layer):
        weight, is_bias = getattr(layer, name), name.startswith("bias")
        if piece.side == "in":
            if name.startswith("weight_ih") and depth == 0:
                yield _Part(weight, 1, piece.indices, piece.roots)
            continue
        own = [place for place, unit in enumerate(piece.indices) if unit // layer.hidden_size == direction]
        rows = gate_rows(layer, piece.indices, direction)
        roots = [piece.roots[place] for place in own] * (len(rows) // len(own) if own else 0)
        yield _Part(weight, 0, rows, roots, is_bias=is_bias)
