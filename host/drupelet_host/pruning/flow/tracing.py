"""Runs a model once and follows its channels through every operator."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MethodType
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree  # torch has no public name for it
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from drupelet_host.pruning.flow.operators import note
from drupelet_host.pruning.flow.record import FlowRecord
from drupelet_host.torch_models.inputs import ModuleInputs, map_inputs, run_module
from drupelet_host.torch_models.outputs import name_outputs

_RECURRENCE = "a recurrent layer takes its channels"
_RECURRENT = (nn.RNNBase, nn.RNNCellBase)


def follow_channels(model: nn.Module, example_input: ModuleInputs) -> FlowRecord:
    """Run a model and record where its channels go.

    Args:
        model: The model; it is left as it is.
        example_input: An input it takes.

    Returns:
        The record, with the channels of the outputs pinned.
    """
    # Gradients and training switch fused and random operators; the copy has its own hooks.
    twin = copy.deepcopy(model).eval()
    record = FlowRecord(twin)
    with _recurrence_apart(twin, record), torch.inference_mode(mode=False), torch.no_grad(), _Following(record):
        returned = run_module(twin, map_inputs(example_input, torch.clone))
    record.pin(list(name_outputs(returned).values()), "its channels are the model's output")
    return record


class _Following(TorchDispatchMode):
    def __init__(self, record: FlowRecord) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self._record = record

    def __torch_dispatch__(
        self,
        func: torch._ops.OpOverload,
        types: object,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> object:
        result = func(*args, **(kwargs or {}))
        note(self._record, func, args, kwargs or {}, result)
        return result


@contextmanager
def _recurrence_apart(model: nn.Module, record: FlowRecord) -> Iterator[None]:
    """Run recurrent layers unseen: what goes in must stay, what comes out has no channels."""
    layers = [module for module in model.modules() if isinstance(module, _RECURRENT)]

    def forward(layer: nn.Module, *args: Any) -> Any:  # noqa: ANN401 - torch's own signatures
        record.pin([value for value in pytree.tree_leaves(args) if isinstance(value, torch.Tensor)], _RECURRENCE)
        with _disable_current_modes():
            return type(layer).forward(layer, *args)

    for layer in layers:
        layer.forward = MethodType(forward, layer)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward
