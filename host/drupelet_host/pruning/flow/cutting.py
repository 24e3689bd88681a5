"""Cuts channels out of layers and parameters, and keeps the layers' own counts of channels right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn

CONVOLUTION = nn.modules.conv._ConvNd  # noqa: SLF001 - torch has no public name for "any convolution"
BATCH_NORM = nn.modules.batchnorm._BatchNorm  # noqa: SLF001 - as above
LAYERS_WITH_CHANNELS = (CONVOLUTION, BATCH_NORM, nn.Linear, nn.LayerNorm, nn.GroupNorm, nn.Embedding)


class ChannelCutter:
    """Removes channels from one side of a layer, or along an axis of a parameter.

    Attributes:
        pruning_dim: The axis of a parameter.
    """

    def __init__(self, side: Literal["out", "in"]) -> None:
        """Choose a side.

        Args:
            side: The side of a layer: the channels that it makes or takes.
        """
        self._side = side
        self.pruning_dim = 0

    def cut(self, target: nn.Module | torch.Tensor, indices: Sequence[int]) -> nn.Module | torch.Tensor:
        """Remove these channels; returns the layer, or the new parameter or buffer."""
        if isinstance(target, nn.Parameter):
            return _without(target, indices, axis=self.pruning_dim)
        if isinstance(target, torch.Tensor):
            return _keep(target, indices, axis=self.pruning_dim)
        if isinstance(target, CONVOLUTION):
            _cut_convolution(target, indices, side=self._side)
        elif isinstance(target, nn.Linear):
            _cut_linear(target, indices, side=self._side)
        else:
            _cut_follower(target, indices)
        return target


def _cut_convolution(layer: nn.modules.conv._ConvNd, indices: Sequence[int], *, side: str) -> None:
    depthwise = 1 < layer.groups == layer.in_channels == layer.out_channels
    if side == "in" and not depthwise:
        axis = 1 - int(layer.transposed)
        layer.weight = _without(layer.weight, _places(layer, indices, axis), axis=axis)
        layer.in_channels -= len(indices)
        return
    axis = 0 if depthwise else int(layer.transposed)
    layer.weight = _without(layer.weight, _places(layer, indices, axis), axis=axis)
    if layer.bias is not None:
        layer.bias = _without(layer.bias, indices, axis=0)
    layer.out_channels -= len(indices)
    if depthwise:
        layer.in_channels = layer.groups = layer.out_channels


def _places(layer: nn.modules.conv._ConvNd, indices: Sequence[int], axis: int) -> Sequence[int]:
    """Return where channels lie along an axis of the weight; the groups share the second one."""
    if layer.groups == 1 or axis == 0:
        return indices
    return sorted({index % layer.weight.shape[1] for index in indices})


def _cut_linear(layer: nn.Linear, indices: Sequence[int], *, side: str) -> None:
    layer.weight = _without(layer.weight, indices, axis=0 if side == "out" else 1)
    if side == "in":
        layer.in_features -= len(indices)
        return
    layer.out_features -= len(indices)
    if layer.bias is not None:
        layer.bias = _without(layer.bias, indices, axis=0)


def _cut_follower(layer: nn.Module, indices: Sequence[int]) -> None:
    axis = -1 if isinstance(layer, nn.Embedding) else 0
    for name, parameter in list(layer.named_parameters(recurse=False)):
        setattr(layer, name, _without(parameter, indices, axis=axis))
    if isinstance(layer, nn.Embedding):
        layer.embedding_dim -= len(indices)
    elif isinstance(layer, nn.LayerNorm):
        layer.normalized_shape = (layer.normalized_shape[0] - len(indices),)
    elif isinstance(layer, nn.GroupNorm):
        layer.num_channels -= len(indices)
    elif isinstance(layer, BATCH_NORM):
        layer.num_features -= len(indices)
        for name in ("running_mean", "running_var"):
            if getattr(layer, name) is not None:
                setattr(layer, name, _keep(getattr(layer, name), indices, axis=0))


def _without(parameter: torch.Tensor, indices: Sequence[int], *, axis: int) -> nn.Parameter:
    kept = nn.Parameter(_keep(parameter.detach(), indices, axis=axis), requires_grad=parameter.requires_grad)
    kept.grad = None if parameter.grad is None else _keep(parameter.grad, indices, axis=axis)
    return kept


def _keep(values: torch.Tensor, indices: Sequence[int], *, axis: int) -> torch.Tensor:
    removed = set(indices)
    kept = [index for index in range(values.shape[axis]) if index not in removed]
    return values.index_select(axis, torch.tensor(kept, dtype=torch.int64)).clone()
