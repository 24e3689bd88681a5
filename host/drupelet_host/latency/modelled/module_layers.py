"""Reads the layers of a PyTorch module for the latency table, from the operators of one forward pass."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from drupelet_host.latency.modelled.layers import LayerKind, LayerShape, channels_and_pixels
from drupelet_host.torch_models.inputs import ModuleInputs, run_module

_KINDS: Mapping[str, LayerKind] = {
    "convolution": "convolution",
    "addmm": "linear",
    "mm": "linear",
    "bmm": "linear",
    "baddbmm": "linear",
    "linear": "linear",
    "max_pool2d_with_indices": "max_pool",
    "avg_pool2d": "average_pool",
    "_adaptive_avg_pool2d": "global_pool",
    "mean": "global_pool",
    "add": "add",
    "sub": "add",
    "mul": "multiply",
    "div": "multiply",
    "cat": "concat",
    "upsample_nearest2d": "upsample",
    "upsample_bilinear2d": "upsample",
    "silu": "silu",
    "hardswish": "hardswish",
    "sigmoid": "sigmoid",
    "hardsigmoid": "sigmoid",
    "_softmax": "other",
    "gelu": "other",
    "native_layer_norm": "other",
    "tanh": "other",
}
# Folded into a convolution before them when the module is exported.
_NORMS = {"native_batch_norm", "_native_batch_norm_legit_no_training", "cudnn_batch_norm", "_batch_norm_no_update"}
# Where the operators have their arguments.
_WEIGHT, _STRIDE, _TRANSPOSED, _GROUPS = 1, 3, 6, 8
_POOL_STRIDE = 2


def read_module_layers(model: nn.Module, example_input: ModuleInputs) -> tuple[LayerShape, ...]:
    """Return the layers of a module in order of execution, as an engine would run them after export.

    Args:
        model: The module; it is run once in evaluation mode and left as it was.
        example_input: An input of one sample.
    """
    was_training = model.training
    recorder = _Recorder()
    model.eval()
    try:
        with torch.no_grad(), recorder:
            run_module(model, example_input)
    finally:
        model.train(was_training)
    return tuple(recorder.layers)


@dataclass
class _Sums:
    """The tensors that are a convolution's sum, before any activation; kept so that no identity is used twice."""

    kept: dict[int, torch.Tensor] = field(default_factory=dict)

    def holds(self, tensor: object) -> bool:
        return id(tensor) in self.kept

    def update(self, tensor: torch.Tensor, *, is_sum: bool) -> None:
        if is_sum:
            self.kept[id(tensor)] = tensor
        else:
            self.kept.pop(id(tensor), None)


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's class has no types
    """Notes the shapes of each operator that costs time."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # as above
        self.layers: list[LayerShape] = []
        self._sums = _Sums()

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401 - an operator of torch, which has no public type
        types: object,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - whatever the operator gives
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__.removesuffix("_") if hasattr(func, "overloadpacket") else ""
        output = result[0] if isinstance(result, tuple) else result
        if not isinstance(output, torch.Tensor):
            return result
        takes_sum = name in _NORMS and self._sums.holds(args[0])
        kind: LayerKind | None = "other" if name in _NORMS and not takes_sum else _KINDS.get(name)
        if kind is not None and output.is_floating_point():
            self.layers.append(self._describe(kind, name, args, output))
        self._sums.update(output, is_sum=kind == "convolution" or takes_sum)
        return result

    def _describe(self, kind: LayerKind, name: str, args: Sequence[Any], output: torch.Tensor) -> LayerShape:
        if kind == "convolution":
            return _convolution(args, output)
        tensors = _tensors(args)
        if kind == "linear":
            return _linear(tensors[1] if name in {"addmm", "baddbmm"} else tensors[0], output)
        channels, pixels = channels_and_pixels(tensors[0].shape)
        if kind == "concat":
            channels = sum(channels_and_pixels(tensor.shape)[0] for tensor in tensors)
        out_channels, out_pixels = channels_and_pixels(output.shape)
        sizes = args[1] if kind in {"max_pool", "average_pool"} else ()
        strides = args[_POOL_STRIDE] if sizes and len(args) > _POOL_STRIDE else ()
        return LayerShape(
            kind=kind,
            in_channels=channels,
            out_channels=out_channels,
            in_pixels=pixels,
            out_pixels=out_pixels,
            window=pixels // tensors[0].shape[0] if kind == "global_pool" else math.prod(sizes),
            stride=max(strides or sizes, default=1),
            follows_convolution=any(self._sums.holds(tensor) for tensor in tensors),
        )


def _convolution(args: Sequence[Any], output: torch.Tensor) -> LayerShape:
    incoming, weight = args[0], args[_WEIGHT]
    # A transposed convolution does the work of one from its output to its input.
    across = incoming if args[_TRANSPOSED] else output
    return LayerShape(
        kind="convolution",
        in_channels=incoming.shape[1],
        out_channels=output.shape[1],
        in_pixels=channels_and_pixels(incoming.shape)[1],
        out_pixels=channels_and_pixels(across.shape)[1],
        window=math.prod(weight.shape[2:]),
        stride=max(args[_STRIDE], default=1),
        groups=args[_GROUPS],
        axes=weight.dim() - 2,
    )


def _linear(incoming: torch.Tensor, output: torch.Tensor) -> LayerShape:
    rows = max(1, math.prod(output.shape[:-1]))
    return LayerShape(
        kind="linear", in_channels=incoming.shape[-1], out_channels=output.shape[-1], in_pixels=rows, out_pixels=rows
    )


def _tensors(args: Sequence[Any]) -> list[torch.Tensor]:
    values: list[object] = []
    for argument in args:
        values.extend(_tensors(argument) if isinstance(argument, (list, tuple)) else [argument])
    return [one for one in values if isinstance(one, torch.Tensor)]
