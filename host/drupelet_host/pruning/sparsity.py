"""Zeros inside layers, for size alone: dense kernels multiply them like any other number, archives compress them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.utils import parametrize

_LAYERS = (nn.modules.conv._ConvNd, nn.Linear)  # noqa: SLF001 - torch has no public name for "any convolution"


@contextmanager
def held_sparse(model: nn.Module, *, sparsity: float) -> Iterator[None]:
    """Set the smallest weights of convolutions and linear layers to zero, and hold them there while the block trains.

    The magnitudes of all layers are compared with each other (Han et al., "Learning both Weights and Connections for
    Efficient Neural Networks", 2015). When the block ends the zeros are in the weights.

    Args:
        model: The module, in place.
        sparsity: The fraction of these weights that is zero, 0 to 1.
    """
    layers = [module for module in model.modules() if isinstance(module, _LAYERS)]
    threshold = _find_threshold([layer.weight for layer in layers], sparsity=sparsity)
    for layer in layers:
        parametrize.register_parametrization(layer, "weight", _Masked(layer.weight.detach().abs() > threshold))
    try:
        yield
    finally:
        for layer in layers:
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)


def measure_sparsity(model: nn.Module) -> float:
    """Return the fraction of zeros in the weights of convolutions and linear layers."""
    weights = [module.weight.detach() for module in model.modules() if isinstance(module, _LAYERS)]
    return sum(int((weight == 0).sum()) for weight in weights) / max(1, sum(weight.numel() for weight in weights))


def ramp(sparsity: float, *, step: int, steps: int) -> float:
    """Return the sparsity after a step of a cubic schedule: fast at first, slow at the end.

    Zhu and Gupta, "To Prune, or Not to Prune", 2017.

    Args:
        sparsity: The final sparsity.
        step: The number of the step, from 1.
        steps: The number of steps.
    """
    return sparsity * (1 - (1 - step / steps) ** 3)


def _find_threshold(weights: Sequence[torch.Tensor], *, sparsity: float) -> float:
    magnitudes = torch.cat([weight.detach().abs().flatten() for weight in weights])
    count = round(sparsity * len(magnitudes))
    return float(torch.kthvalue(magnitudes, count).values) if count else -1.0


class _Masked(nn.Module):
    """A weight with zeros where the mask is off."""

    mask: torch.Tensor

    def __init__(self, mask: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight * self.mask
