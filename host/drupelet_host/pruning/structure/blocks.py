"""Where layers split their channels into equal blocks, every block must lose as many."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from drupelet_host.pruning.rewriting.attention import HeadedAttention
from drupelet_host.pruning.structure.recurrent import RECURRENT, directions
from drupelet_host.pruning.structure.slices import CONVOLUTION, Slice, find_target, is_depthwise
from drupelet_host.pruning.structure.unprunable import Unprunable


@dataclass(frozen=True, slots=True)
class Blocks:
    """How a group's channels are split.

    Attributes:
        count: In how many blocks of equal size; 1 where nothing splits them.
        alike: Whether the same places must go in every block: a grouped convolution has one set of weights for the
            first input of all its groups.
        minimum: The fewest channels that must stay.
    """

    count: int
    alike: bool
    minimum: int

    def choose(self, scores: torch.Tensor, count: int) -> list[int]:
        """The `count` channels of the lowest scores, as many from each block."""
        share, size = count // self.count, len(scores) // self.count
        table = scores.view(self.count, size)
        if self.alike:
            table = table.sum(dim=0, keepdim=True).expand(self.count, size)
        # A stable sort: equal scores must give the same choice on every run.
        lowest = torch.argsort(table, dim=1, stable=True)[:, :share]
        return sorted((lowest + size * torch.arange(self.count)[:, None]).flatten().tolist())


def find_blocks(model: nn.Module, slices: Sequence[Slice], channels: int) -> Blocks | Unprunable:
    """Return how the channels of a group are split into blocks, or the reason why none can be removed.

    Args:
        model: The model.
        slices: The weights of all channels of the group.
        channels: The number of channels.
    """
    count, alike, minimum = 1, False, 1
    for piece in slices:
        target = find_target(model, piece.layer)
        own = _split(model, target, piece)
        if own == 1:
            continue
        if piece.indices != tuple(range(channels)) or piece.roots != piece.indices or _width(target, piece) != channels:
            return Unprunable(f"{_describe(target, piece.layer)} splits channels of several layers")
        count = math.lcm(count, own)
        if isinstance(target, CONVOLUTION):
            alike = alike or piece.side == "in"
            # With one output in each group Torch-Pruning takes the convolution for a depthwise one.
            minimum = max(minimum, 2 * own) if piece.side == "out" else minimum
        if channels // own < 2 or channels % count:  # noqa: PLR2004 - one channel must stay in each
            return Unprunable(
                f"{_describe(target, piece.layer)} splits its {channels} channels {own} ways: none can go alone"
            )
    if channels < 2 * count:
        if count == 1:
            return Unprunable("it has one channel, which must stay")
        return Unprunable(f"it has {channels} channels in {count} blocks: one must stay in each")
    return Blocks(count, alike, max(minimum, count))


def _split(model: nn.Module, target: nn.Module | torch.Tensor, piece: Slice) -> int:
    if isinstance(target, CONVOLUTION):
        return 1 if is_depthwise(target) else target.groups
    if isinstance(target, nn.GroupNorm):
        return target.num_groups
    if isinstance(target, RECURRENT):
        return directions(target) if piece.side == "out" else 1
    parent, _, child = piece.layer.rpartition(".")
    around = model.get_submodule(parent)
    if isinstance(around, HeadedAttention) and (child == "out") == (piece.side == "in"):
        return around.num_heads
    return 1


def _width(target: nn.Module | torch.Tensor, piece: Slice) -> int:
    if isinstance(target, CONVOLUTION):
        return target.out_channels if piece.side == "out" else target.in_channels
    if isinstance(target, nn.GroupNorm):
        return target.num_channels
    return len(piece.indices)


def _describe(target: nn.Module | torch.Tensor, name: str) -> str:
    if isinstance(target, CONVOLUTION):
        return f"grouped convolution {name}"
    if isinstance(target, nn.GroupNorm):
        return f"group norm {name}"
    return f"{type(target).__name__} {name}"
