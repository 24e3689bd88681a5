"""Kernel taps that only ever see padding: on a small feature map most of a kernel multiplies zeros."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from drupelet_host.torch_models.inputs import ModuleInputs, run_module


@dataclass(frozen=True, slots=True)
class _Axis:
    """One axis of a convolution: the taps that see input, and the padding with which they see the same."""

    first: int
    end: int
    padding: int


def trim_padding(model: nn.Module, example_input: ModuleInputs) -> int:
    """Cut the kernels of zero-padded convolutions down to the taps that see input, in place.

    With inputs of exactly this shape the outputs stay the same: a 3 x 3 kernel on a 1 x 1 map is a 1 x 1 kernel. A
    kernel that would need different padding at its two ends stays as it is.

    Args:
        model: The model; it is left in evaluation mode.
        example_input: An input of the only shape the model will be given.

    Returns:
        How many weights went.
    """
    removed = 0
    for layer, sizes in _input_sizes(model.eval(), example_input).items():
        if len(sizes) != 1 or layer.padding_mode != "zeros" or isinstance(layer.padding, str) or layer.transposed:
            continue
        (size,) = sizes
        axes = [_live_axis(layer, axis, length) for axis, length in enumerate(size)]
        kept = [axis for axis in axes if axis is not None]
        if len(kept) == len(axes):
            removed += _cut(layer, kept)
    return removed


def _live_axis(layer: nn.modules.conv._ConvNd, axis: int, length: int) -> _Axis | None:
    kernel, stride = layer.kernel_size[axis], layer.stride[axis]
    dilation, padding = layer.dilation[axis], int(layer.padding[axis])
    outputs = _count_outputs(length, kernel, stride=stride, dilation=dilation, padding=padding)
    live = [
        tap
        for tap in range(kernel)
        if any(0 <= output * stride + tap * dilation - padding < length for output in range(outputs))
    ]
    if not live:
        return None
    first, end = live[0], live[-1] + 1
    # The cut kernel starts this much further in; what is left of the padding must do for both ends.
    shifted = padding - first * dilation
    same = shifted >= 0 and outputs == _count_outputs(
        length, end - first, stride=stride, dilation=dilation, padding=shifted
    )
    return _Axis(first, end, shifted) if same else _Axis(0, kernel, padding)


def _count_outputs(length: int, kernel: int, *, stride: int, dilation: int, padding: int) -> int:
    return (length + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def _cut(layer: nn.modules.conv._ConvNd, axes: list[_Axis]) -> int:
    window = tuple(slice(axis.first, axis.end) for axis in axes)
    before = layer.weight.numel()
    layer.weight = nn.Parameter(layer.weight.detach()[(slice(None), slice(None), *window)].clone())
    layer.kernel_size = tuple(axis.end - axis.first for axis in axes)
    layer.padding = tuple(axis.padding for axis in axes)
    # What `padding_mode` other than zeros would pad with; the layer keeps the two in step.
    layer._reversed_padding_repeated_twice = [axis.padding for axis in reversed(axes) for _ in range(2)]  # noqa: SLF001
    return before - layer.weight.numel()


def _input_sizes(model: nn.Module, example_input: ModuleInputs) -> dict[nn.modules.conv._ConvNd, set[tuple[int, ...]]]:
    """Return the spatial sizes that each convolution sees; a shared one may see several."""
    sizes: dict[nn.modules.conv._ConvNd, set[tuple[int, ...]]] = {}
    with _watched(model, sizes), torch.no_grad():
        run_module(model, example_input)
    return sizes


@contextmanager
def _watched(model: nn.Module, sizes: dict[nn.modules.conv._ConvNd, set[tuple[int, ...]]]) -> Iterator[None]:
    def note(layer: nn.Module, inputs: tuple[torch.Tensor, ...], _output: object) -> None:
        assert isinstance(layer, nn.modules.conv._ConvNd)  # noqa: SLF001 - the hooks are on these alone
        sizes.setdefault(layer, set()).add(tuple(inputs[0].shape[-len(layer.kernel_size) :]))

    layers = [module for module in model.modules() if isinstance(module, nn.modules.conv._ConvNd)]  # noqa: SLF001 - torch has no public base
    hooks = [layer.register_forward_hook(note) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
