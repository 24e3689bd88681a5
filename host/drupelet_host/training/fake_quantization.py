"""Fake quantization: rounds weights and activations to int8 during training.

Method: Jacob et al., "Quantization and Training of Neural Networks", 2018.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import torch
from torch import nn
from torch.nn.utils import parametrize

from drupelet_host.torch_models.inputs import ModuleInputs, run_module, split_inputs, take_samples

_LOWEST, _HIGHEST = -128, 127
# Weights are symmetric, so that their zero point is zero.
_WEIGHT_LOWEST = -127
_SMALLEST_SCALE = 1e-8
# The weight of the previous range in the moving average; the rest is the latest batch.
_MEMORY = 0.99
_BATCH = 256
_LAYERS = (nn.modules.conv._ConvNd, nn.Linear)  # noqa: SLF001 - torch has no public name for "any convolution"


@contextmanager
def fake_quantized(model: nn.Module, inputs: ModuleInputs) -> Iterator[None]:
    """Round weights and inputs of convolutions and linear layers as static int8 does, while the block runs.

    Weights have a scale for each output channel, inputs one scale, whose range follows the batches in training mode.
    Gradients pass through the rounding unchanged. Batch norms need no treatment: folding one into its convolution
    scales whole output channels and the scales of their weights alike.

    Args:
        model: The module; after the block it has its trained weights in float.
        inputs: Samples from which the initial ranges are computed, stacked.
    """
    # Rounding has no kernel for float16.
    layers = [
        module for module in model.modules() if isinstance(module, _LAYERS) and module.weight.dtype is not torch.float16
    ]
    observers = {layer: _Range() for layer in layers}
    handles = [layer.register_forward_pre_hook(observer) for layer, observer in observers.items()]
    try:
        _observe(model, inputs)
        for layer in layers:
            output_axis = 1 if isinstance(layer, nn.modules.conv._ConvTransposeNd) else 0  # noqa: SLF001 - as above
            parametrize.register_parametrization(layer, "weight", _RoundedWeight(output_axis))
        yield
    finally:
        for handle in handles:
            handle.remove()
        for layer in layers:
            if parametrize.is_parametrized(layer, "weight"):
                parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)


def _observe(model: nn.Module, inputs: ModuleInputs) -> None:
    model.eval()
    with torch.no_grad():
        for batch in split_inputs(take_samples(inputs, slice(4 * _BATCH)), _BATCH):
            run_module(model, batch)


class _RoundedWeight(nn.Module):
    """Parametrization that rounds a weight to int8, with a scale for each output channel."""

    def __init__(self, axis: int) -> None:
        super().__init__()
        self._axis = axis

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        others = [axis for axis in range(weight.ndim) if axis != self._axis]
        scale = (weight.detach().abs().amax(dim=others) / _HIGHEST).clamp_min(_SMALLEST_SCALE)
        zero = torch.zeros_like(scale, dtype=torch.int32)
        return torch.fake_quantize_per_channel_affine(weight, scale, zero, self._axis, _WEIGHT_LOWEST, _HIGHEST)


class _Range:
    """Hook that tracks the range of a layer's input and rounds the input to 256 steps of it."""

    def __init__(self) -> None:
        self._low: torch.Tensor | None = None
        self._high: torch.Tensor | None = None

    def __call__(self, layer: nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        inputs, *others = args
        if layer.training or self._low is None or not parametrize.is_parametrized(layer):
            self._follow(inputs.detach())
        return (self._round(inputs), *others)

    def _follow(self, inputs: torch.Tensor) -> None:
        # Zero must be exact in int8, since padding and ReLU produce it.
        low, high = inputs.amin().clamp_max(0), inputs.amax().clamp_min(0)
        if self._low is None or self._high is None:
            self._low, self._high = low, high
        else:
            self._low = _MEMORY * self._low.to(low.device) + (1 - _MEMORY) * low
            self._high = _MEMORY * self._high.to(high.device) + (1 - _MEMORY) * high

    def _round(self, inputs: torch.Tensor) -> torch.Tensor:
        # The initial ranges may have been computed on another device.
        low, high = (cast("torch.Tensor", end).to(inputs.device) for end in (self._low, self._high))
        scale = ((high - low) / (_HIGHEST - _LOWEST)).clamp_min(_SMALLEST_SCALE)
        zero = (_LOWEST - low / scale).round().clamp(_LOWEST, _HIGHEST).to(torch.int32)
        return torch.fake_quantize_per_tensor_affine(inputs, scale, zero, _LOWEST, _HIGHEST)
