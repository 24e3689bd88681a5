"""A model's dependency graph, asked by the names of layers."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch_pruning
from torch import nn
from torch_pruning import ops

from drupelet_host.errors import ModelError
from drupelet_host.pruning.structure.attention import HeadedAttention
from drupelet_host.pruning.structure.recurrent import RECURRENT, RecurrentPruner, opaque_recurrence
from drupelet_host.pruning.structure.slices import CONVOLUTION, Slice
from drupelet_host.torch_models.outputs import name_outputs

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

    Raises:
        ModelError: The model's dependencies cannot be traced.
    """

    def __init__(self, model: nn.Module, example_input: torch.Tensor) -> None:
        # The graph follows grad_fn, so it needs gradients even where the caller has switched them off.
        twin = copy.deepcopy(model).eval().requires_grad_(requires_grad=True)
        self._graph = _dependency_graph(twin, example_input)
        self._modules = {name: module for name, module in twin.named_modules() if name}
        self._names = {module: name for name, module in self._modules.items()}
        self.layers = tuple(name for name, module in self._modules.items() if isinstance(module, LAYERS))
        self.public = _public_names(twin)

    def roots(self) -> Iterator[tuple[str, Coupling | str]]:
        """Every set of coupled channels by its root layer: what they are, or why nobody knows."""
        seen = set()
        for module in list(self._graph.module2node):
            if not isinstance(module, LAYERS) or module in seen:
                continue
            seen.add(module)
            root: str = self._names[module]
            try:
                group = self._group(root, range(self.channels(root)))
            except Exception as error:  # noqa: BLE001 - torch-pruning raises bare exceptions
                yield root, f"Torch-Pruning cannot follow its channels: {type(error).__name__}: {error}"
                continue
            seen.update(item.dep.target.module for item in group if _is_out(item))
            yield root, self._coupling(group)

    def root(self, name: str) -> str:
        """The layer that a group is called after.

        Raises:
            ModelError: The model has no such layer, or its outputs do not lead to the model's.
        """
        found = [layer for layer in self.layers if self.public[layer] == name]
        reached = [layer for layer in found if self._modules[layer] in self._graph.module2node]
        if not reached:
            raise ModelError(f"group {name!r}: the model has no such layer")
        return str(reached[0])

    def channels(self, root: str) -> int:
        """How many outputs the layer has."""
        return int(self._graph.get_out_channels(self._modules[root]))

    def coupling(self, root: str, indices: Sequence[int]) -> Coupling:
        """Everything that goes with these outputs of the layer."""
        return self._coupling(self._group(root, indices))

    def _group(self, root: str, indices: Sequence[int]) -> Any:  # noqa: ANN401 - torch-pruning has no types
        module = self._modules[root]
        prune = self._graph.get_pruner_of_module(module).prune_out_channels
        return self._graph.get_pruning_group(module, prune, list(indices))

    def _coupling(self, group: Any) -> Coupling:  # noqa: ANN401 - as above
        slices = []
        for item in group:
            name = self._name(item.dep.target.module)
            if name is not None:
                side: Literal["out", "in"] = "out" if _is_out(item) else "in"
                axis = item.dep.target.pruning_dim
                slices.append(Slice(name, side, tuple(item.idxs), tuple(item.root_idxs), item.dep.handler, axis))
        return Coupling(tuple(slices), any(_is_output(item) for item in group))

    def _name(self, target: nn.Module | nn.Parameter) -> str | None:
        # The graph also holds additions, reshapes and the like, which are no part of the model.
        parameters: dict[nn.Parameter, str] = self._graph._param_to_name  # noqa: SLF001 - it has no public list
        return parameters.get(target) if isinstance(target, nn.Parameter) else self._names.get(target)


def called_layers(model: nn.Module, example_input: torch.Tensor) -> list[str]:
    """The names of convolutions, linear and recurrent layers in the order in which they are called."""
    called: list[str] = []
    hooks = [
        module.register_forward_pre_hook(lambda _module, _args, name=name: called.append(name))
        for name, module in model.named_modules()
        if isinstance(module, LAYERS)
    ]
    try:
        with torch.no_grad():
            model(example_input)
    finally:
        for hook in hooks:
            hook.remove()
    return called


def _is_output(item: Any) -> bool:  # noqa: ANN401 - as above
    node = item.dep.target
    return bool(node.type == ops.OPTYPE.OUTPUT or (_is_out(item) and not node.outputs))


def _is_out(item: Any) -> bool:  # noqa: ANN401 - as above
    return bool(item.dep.handler.__name__ == "prune_out_channels")


def _public_names(model: nn.Module) -> dict[str, str]:
    """What each layer is called in the model as it came, by its name in the model with its attention loosened."""
    names = {name: name for name, _ in model.named_modules() if name}
    for name, module in model.named_modules():
        if isinstance(module, HeadedAttention):
            for child, origin in module.origins.items():
                names[f"{name}.{child}"] = f"{name}.{origin}" if origin else name
    return names


def _dependency_graph(model: nn.Module, example_input: torch.Tensor) -> Any:  # noqa: ANN401 - as above
    graph = torch_pruning.DependencyGraph()
    pruners = dict.fromkeys(RECURRENT, RecurrentPruner())
    try:
        with torch.inference_mode(mode=False), torch.enable_grad(), opaque_recurrence(model):
            return graph.build_dependency(
                model,
                example_input.clone(),
                output_transform=lambda returned: [
                    tensor for tensor in name_outputs(returned).values() if tensor.grad_fn is not None
                ],
                customized_pruners=pruners,
                verbose=False,
            )
    except Exception as error:  # torch-pruning raises bare exceptions
        raise ModelError(f"the model's layers cannot be traced for pruning: {error}") from error
