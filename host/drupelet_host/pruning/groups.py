"""The channels of a model that can only be removed together, and their removal."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
import torch_pruning
from torch import nn

from drupelet_host.errors import ModelError

Importance = Literal["l1", "l2", "taylor"]
Role = Literal["first", "inner", "last"]
_ESTIMATES = {
    "l1": partial(torch_pruning.importance.GroupMagnitudeImportance, p=1),
    "l2": partial(torch_pruning.importance.GroupMagnitudeImportance, p=2),
    "taylor": torch_pruning.importance.GroupTaylorImportance,
}
_LAYERS = (nn.modules.conv._ConvNd, nn.Linear)  # noqa: SLF001 - torch has no public name for "any convolution"


@dataclass(frozen=True, slots=True)
class PrunableGroup:
    """Channels that can only be removed together (Fang et al., "DepGraph", 2023).

    Attributes:
        name: The layer at its root; it stays the same as the model shrinks.
        channels: How many output channels that layer has.
        members: Every convolution and linear layer that gets narrower with it.
        role: "first" holds the first layer's outputs, "last" feeds the last layer.
    """

    name: str
    channels: int
    members: tuple[str, ...]
    role: Role


def find_groups(model: nn.Module, example_input: torch.Tensor) -> tuple[PrunableGroup, ...]:
    """The groups that can be pruned without changing the shape of the model's output; the model is left as it is.

    Layers with channels in several groups (grouped convolutions, group norms) are left out: their groups would have to
    shrink alike.

    Raises:
        ModelError: The model's dependencies cannot be traced.
    """
    trial = _copy_for_tracing(model)
    first, last = _first_and_last_layer(trial, example_input)
    names = {module: name for name, module in trial.named_modules()}
    graph = _dependency_graph(trial, example_input)
    found = []
    for group in graph.get_all_groups():
        members = [item.dep.target.module for item in group if item.dep.target.module in names]
        if any(_splits_channels(module) for module in members):
            continue
        layers = tuple(dict.fromkeys(names[module] for module in members if isinstance(module, _LAYERS)))
        root = group[0].dep.target.module
        role: Role = "first" if names[first] in layers else "last" if names[last] in layers else "inner"
        found.append(PrunableGroup(names[root], int(graph.get_out_channels(root)), layers, role))
    return tuple(group for group in found if _keeps_output(model, example_input, group))


def remove_channels(
    model: nn.Module, example_input: torch.Tensor, removals: Mapping[str, int], *, importance: Importance
) -> None:
    """Remove the least important channels, in place: the model's layers really get smaller.

    Args:
        model: The model; it is left in evaluation mode.
        example_input: An input it takes.
        removals: How many channels go, by the name of the group.
        importance: The norm of a channel's weights, over the whole group, or the product of weights and gradients,
            which the parameters must then hold.

    Raises:
        ModelError: A group is not there, or would lose all its channels.
    """
    graph = _dependency_graph(model, example_input)
    estimate = _ESTIMATES[importance]()
    for name, count in removals.items():
        root = _find_layer(model, name)
        channels = int(graph.get_out_channels(root))
        if not 0 <= count < channels:
            raise ModelError(f"group {name!r} has {channels} channels: {count} of them cannot be removed")
        if count == 0:
            continue
        prune = graph.get_pruner_of_module(root).prune_out_channels
        scores = estimate(graph.get_pruning_group(root, prune, list(range(channels))))
        # A stable sort: equal scores must give the same choice on every run.
        lowest = torch.argsort(scores, stable=True)[:count]
        graph.get_pruning_group(root, prune, sorted(lowest.tolist())).prune()


def _copy_for_tracing(model: nn.Module) -> nn.Module:
    return copy.deepcopy(model).eval().requires_grad_(requires_grad=True)


def _dependency_graph(model: nn.Module, example_input: torch.Tensor) -> Any:  # noqa: ANN401 - torch-pruning has no types
    # The graph follows grad_fn, so it needs gradients even where the caller has switched them off.
    try:
        with torch.inference_mode(mode=False), torch.enable_grad():
            return torch_pruning.DependencyGraph().build_dependency(model.eval(), example_input.clone())
    except Exception as error:  # torch-pruning raises bare exceptions
        raise ModelError(f"the model's layers cannot be traced for pruning: {error}") from error


def _find_layer(model: nn.Module, name: str) -> nn.Module:
    try:
        return model.get_submodule(name)
    except AttributeError as error:
        raise ModelError(f"group {name!r}: the model has no such layer") from error


def _splits_channels(module: nn.Module) -> bool:
    if isinstance(module, nn.modules.conv._ConvNd):  # noqa: SLF001 - as above
        depthwise = module.groups == module.in_channels == module.out_channels
        return module.groups > 1 and not depthwise
    return isinstance(module, (nn.GroupNorm, nn.MultiheadAttention))


def _first_and_last_layer(model: nn.Module, example_input: torch.Tensor) -> tuple[nn.Module, nn.Module]:
    seen: list[nn.Module] = []
    with _hooked(model, seen), torch.no_grad():
        model(example_input)
    if not seen:
        raise ModelError("the model has no convolution and no linear layer: there is nothing to prune")
    return seen[0], seen[-1]


@contextmanager
def _hooked(model: nn.Module, seen: list[nn.Module]) -> Iterator[None]:
    layers = [module for module in model.modules() if isinstance(module, _LAYERS)]
    hooks = [layer.register_forward_hook(lambda module, _args, _output: seen.append(module)) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _keeps_output(model: nn.Module, example_input: torch.Tensor, group: PrunableGroup) -> bool:
    """Whether the model still runs, and its output has the same shape, with one channel less."""
    if group.channels < 2:  # noqa: PLR2004 - one channel must stay
        return False
    trial = _copy_for_tracing(model)
    with torch.no_grad():
        expected = trial(example_input).shape
        remove_channels(trial, example_input, {group.name: 1}, importance="l2")
        try:
            return bool(trial(example_input).shape == expected)
        except RuntimeError:  # shapes that no longer fit: the graph missed a dependency
            return False
