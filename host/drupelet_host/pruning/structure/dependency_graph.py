"""The adapter around Torch-Pruning: the one module that imports it and knows its privates.

Torch-Pruning has no types and raises bare exceptions; what leaves this module has types and our errors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch_pruning
from torch import nn
from torch_pruning import ops
from torch_pruning.pruner.function import BasePruningFunc as PruningFunction

from drupelet_host.torch_models.inputs import ModuleInputs, list_tensors
from drupelet_host.torch_models.outputs import name_outputs

__all__ = ["CoupledChannels", "DependencyGraph", "PruningFunction", "UntraceableError"]


class UntraceableError(Exception):
    """Torch-Pruning cannot follow the channels of a layer or of a whole model; the message has its reason."""


@dataclass(frozen=True, slots=True)
class CoupledChannels:
    """Channels of one layer or parameter that go together with channels of the root.

    Attributes:
        target: The layer or parameter.
        is_out: Whether they are its outputs.
        is_model_output: Whether they are part of the model's output.
        indices: The channels.
        roots: The channels of the root with which each goes.
        handler: Torch-Pruning's function that removes them.
        axis: The dimension of a parameter that they lie along.
    """

    target: nn.Module | nn.Parameter
    is_out: bool
    is_model_output: bool
    indices: tuple[int, ...]
    roots: tuple[int, ...]
    handler: Any
    axis: int


class DependencyGraph:
    """Which channels of which layers depend on each other (Fang et al., "DepGraph", 2023)."""

    def __init__(
        self, model: nn.Module, example_input: ModuleInputs, *, functions: Mapping[type[nn.Module], PruningFunction]
    ) -> None:
        """Trace a model.

        Args:
            model: The model; its parameters must require gradients, which the trace follows.
            example_input: An input it takes.
            functions: How kinds of layers that Torch-Pruning does not know lose channels.

        Raises:
            UntraceableError: Torch-Pruning cannot trace the model.
        """
        graph = torch_pruning.DependencyGraph()
        try:
            with torch.inference_mode(mode=False), torch.enable_grad():
                self._graph = graph.build_dependency(
                    model,
                    [values.clone() for values in list_tensors(example_input)],
                    output_transform=_differentiable,
                    customized_pruners=dict(functions),
                    verbose=False,
                )
        except Exception as error:  # Torch-Pruning raises bare exceptions
            raise UntraceableError(f"{type(error).__name__}: {error}") from error

    def modules(self) -> list[nn.Module]:
        """Return the modules whose outputs lead to the model's, in the order of the trace."""
        return list(self._graph.module2node)

    def parameter_names(self) -> Mapping[nn.Parameter, str]:
        """Return the names of parameters that belong to no layer that Torch-Pruning knows."""
        names: Mapping[nn.Parameter, str] = self._graph._param_to_name  # noqa: SLF001 - it has no public list
        return names

    def channels(self, module: nn.Module) -> int:
        """Return how many outputs a layer has."""
        return int(self._graph.get_out_channels(module))

    def coupled(self, module: nn.Module, indices: Sequence[int]) -> Iterator[CoupledChannels]:
        """Everything that goes with these outputs of a layer.

        Raises:
            UntraceableError: Torch-Pruning cannot follow them.
        """
        try:
            prune = self._graph.get_pruner_of_module(module).prune_out_channels
            items = list(self._graph.get_pruning_group(module, prune, list(indices)))
        except Exception as error:  # Torch-Pruning raises bare exceptions
            raise UntraceableError(f"{type(error).__name__}: {error}") from error
        return map(_describe, items)


def _differentiable(returned: Any) -> list[torch.Tensor]:  # noqa: ANN401 - whatever a model returns
    return [tensor for tensor in name_outputs(returned).values() if tensor.grad_fn is not None]


def _describe(item: Any) -> CoupledChannels:  # noqa: ANN401 - Torch-Pruning has no types
    node, handler = item.dep.target, item.dep.handler
    is_out = handler.__name__ == "prune_out_channels"
    return CoupledChannels(
        target=node.module,
        is_out=is_out,
        is_model_output=bool(node.type == ops.OPTYPE.OUTPUT or (is_out and not node.outputs)),
        indices=tuple(item.idxs),
        roots=tuple(item.root_idxs),
        handler=handler,
        axis=node.pruning_dim,
    )
