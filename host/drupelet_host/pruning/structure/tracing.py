"""A model's dependency graph, asked by the names of layers."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from drupelet_host.errors import ModelError
from drupelet_host.pruning.flow.components import Component, find_components
from drupelet_host.pruning.flow.tracing import follow_channels
from drupelet_host.pruning.rewriting.attention import HeadedAttention
from drupelet_host.pruning.structure.dependency_graph import CoupledChannels, DependencyGraph, UntraceableError
from drupelet_host.pruning.structure.recurrent import RECURRENT, RecurrentPruner, opaque_recurrence
from drupelet_host.pruning.structure.slices import CONVOLUTION, Slice
from drupelet_host.pruning.structure.unprunable import Unprunable
from drupelet_host.torch_models.inputs import ModuleInputs, run_module

_UNSEEN = "its outputs do not lead to the model's, as far as Torch-Pruning can see"
LAYERS = (CONVOLUTION, nn.Linear, *RECURRENT)


@dataclass(frozen=True, slots=True)
class Coupling:
    """Channels that can only be removed together (Fang et al., "DepGraph", 2023).

    Attributes:
        slices: What they are in each layer.
        reaches_output: Whether the model's output has them too.
    """

    slices: tuple[Slice, ...]
    reaches_output: bool


class Trace:
    """The dependency graph of a model whose attention is loosened; the model is neither changed nor kept.

    Attributes:
        layers: The names of all convolutions, linear and recurrent layers.
        public: What each was called before attention was loosened.

    Args:
        model: The model, its attention loosened.
        example_input: An input that it takes.

    Torch-Pruning raises an exception for some models, such as one with a split of stated sizes that three layers read.
    Their channels are then followed operator by operator alone.
    """

    def __init__(self, model: nn.Module, example_input: ModuleInputs) -> None:
        """Trace a copy of a model.

        Args:
            model: The model, its attention rewritten.
            example_input: An input it takes.
        """
        # The graph follows grad_fn, so it needs gradients even where the caller has switched them off.
        twin = copy.deepcopy(model).eval().requires_grad_(requires_grad=True)
        self._graph, self._untraceable = _trace(twin, example_input)
        self._modules = {name: module for name, module in twin.named_modules() if name}
        self._names = {module: name for name, module in self._modules.items()}
        self.layers = tuple(name for name, module in self._modules.items() if isinstance(module, LAYERS))
        self.public = _public_names(twin)
        traced = self._graph.modules() if self._graph else twin.modules()
        self._traced = dict.fromkeys(self._names[module] for module in traced if isinstance(module, LAYERS))
        self._components = _follow(twin, example_input)

    def roots(self) -> Iterator[str]:
        """Yield every layer that makes channels, in the order of the trace."""
        yield from dict.fromkeys([*self._components, *self._traced])

    def component(self, root: str) -> Component | None:
        """Return the channels of a layer and of those that lose some with it; None where they were not followed."""
        return self._components.get(root)

    def is_attention(self, root: str) -> bool:
        """Return whether a layer is part of attention that was rewritten: it has heads of its own."""
        return isinstance(self._modules.get(root.rpartition(".")[0]), HeadedAttention)

    def whole(self, root: str) -> Coupling | Unprunable:
        """Return everything that goes with all outputs of a layer, as Torch-Pruning says, or why it cannot tell."""
        if root not in self._traced:
            return Unprunable(_UNSEEN)
        if self._graph is None:
            return Unprunable(f"Torch-Pruning cannot trace the model: {self._untraceable}")
        try:
            return self._coupling(list(self._graph.coupled(self._modules[root], range(self.channels(root)))))
        except UntraceableError as error:
            return Unprunable(f"Torch-Pruning cannot follow its channels: {error}")

    def root(self, name: str) -> str:
        """The layer that a group is called after.

        Raises:
            ModelError: The model has no such layer, or its outputs do not lead to the model's.
        """
        for layer in self.roots():
            if self.public.get(layer, layer) == name:
                return layer
        raise ModelError(f"group {name!r}: the model has no such layer")

    def channels(self, root: str) -> int:
        """How many outputs the layer has."""
        component = self._components.get(root)
        if component is not None and component.root.layer == root:
            return component.width
        if self._graph is None:
            return count_outputs(self._modules[root])
        return self._graph.channels(self._modules[root])

    def coupling(self, root: str, indices: Sequence[int]) -> Coupling:
        """Everything that goes with these outputs of the layer.

        Raises:
            ModelError: Torch-Pruning cannot follow them.
        """
        if self._graph is None:
            raise ModelError(f"group {self.public[root]!r}: Torch-Pruning cannot trace the model: {self._untraceable}")
        try:
            return self._coupling(list(self._graph.coupled(self._modules[root], indices)))
        except UntraceableError as error:
            raise ModelError(
                f"group {self.public[root]!r}: Torch-Pruning cannot follow its channels: {error}"
            ) from error

    def _coupling(self, coupled: Sequence[CoupledChannels]) -> Coupling:
        slices = []
        for part in coupled:
            name = self._name(part.target)
            if name is not None:
                side: Literal["out", "in"] = "out" if part.is_out else "in"
                slices.append(Slice(name, side, part.indices, part.roots, part.handler, part.axis))
        return Coupling(tuple(slices), any(part.is_model_output for part in coupled))

    def _name(self, target: nn.Module | nn.Parameter) -> str | None:
        # The graph also holds additions, reshapes and the like, which are no part of the model.
        if isinstance(target, nn.Parameter):
            return self._graph.parameter_names().get(target) if self._graph else None
        return self._names.get(target)


def _trace(model: nn.Module, example_input: ModuleInputs) -> tuple[DependencyGraph | None, str]:
    """Return Torch-Pruning's graph, or None and why there is none."""
    try:
        with opaque_recurrence(model):
            return DependencyGraph(model, example_input, functions=dict.fromkeys(RECURRENT, RecurrentPruner())), ""
    except UntraceableError as error:
        return None, str(error)


def count_outputs(layer: nn.Module) -> int:
    """Return how many outputs a convolution, linear or recurrent layer has."""
    if isinstance(layer, CONVOLUTION):
        return layer.out_channels
    if isinstance(layer, nn.Linear):
        return layer.out_features
    assert isinstance(layer, nn.RNNBase), "the layers of LAYERS"
    return layer.hidden_size


def called_layers(model: nn.Module, example_input: ModuleInputs) -> list[str]:
    """The names of convolutions, linear and recurrent layers in the order in which they are called."""
    called: list[str] = []
    hooks = [
        module.register_forward_pre_hook(lambda _module, _args, name=name: called.append(name))
        for name, module in model.named_modules()
        if isinstance(module, LAYERS)
    ]
    try:
        with torch.no_grad():
            run_module(model, example_input)
    finally:
        for hook in hooks:
            hook.remove()
    return called


def _follow(model: nn.Module, example_input: ModuleInputs) -> dict[str, Component]:
    """Return the component of every layer and parameter that makes channels."""
    return {
        place.layer: component
        for component in find_components(follow_channels(model, example_input))
        for place in component.places
        if place in component.producers
    }


def _public_names(model: nn.Module) -> dict[str, str]:
    """What each layer is called in the model as it came, by its name in the model with its attention loosened."""
    names = {name: name for name, _ in model.named_modules() if name}
    for name, module in model.named_modules():
        if isinstance(module, HeadedAttention):
            for child, origin in module.origins.items():
                names[f"{name}.{child}"] = f"{name}.{origin}" if origin else name
    return names
