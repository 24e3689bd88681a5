"""How an LSTM, a GRU or a plain recurrent layer loses hidden units and inputs, and how it is traced as one layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import MethodType
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree  # torch has no public name for it

from drupelet_host.pruning.structure.dependency_graph import PruningFunction

RECURRENT = (nn.LSTM, nn.GRU, nn.RNN)
_GATES: dict[type[nn.RNNBase], int] = {nn.LSTM: 4, nn.GRU: 3, nn.RNN: 1}


def directions(layer: nn.RNNBase) -> int:
    """2 for a bidirectional layer: its outputs are those of one direction, then those of the other."""
    return 2 if layer.bidirectional else 1


def recurrent_weights(layer: nn.RNNBase) -> Iterator[tuple[str, int, int]]:
    """Yield the name, depth and direction of every weight and bias."""
    for name in (name for names in layer._all_weights for name in names):  # noqa: SLF001 - torch has no public list
        stem = name.removesuffix("_reverse")
        yield name, int(stem.rpartition("_l")[2]), int(stem != name)


def gate_rows(layer: nn.RNNBase, units: Sequence[int], direction: int) -> list[int]:
    """Return the rows of `weight_ih` and `weight_hh` that compute some outputs, in every gate.

    Args:
        layer: The recurrent layer.
        units: The outputs, counted over both directions.
        direction: 0 for forward, 1 for backward.
    """
    own = [unit - direction * layer.hidden_size for unit in units if unit // layer.hidden_size == direction]
    return [gate * layer.hidden_size + unit for gate in range(_GATES[type(layer)]) for unit in own]


class RecurrentPruner(PruningFunction):  # type: ignore[misc]  # Torch-Pruning has no types
    """Removes the same hidden units from all layers of the stack: torch knows one hidden size."""

    def prune_out_channels(self, layer: nn.RNNBase, idxs: Sequence[int]) -> nn.RNNBase:
        """Remove hidden units; the same number from each direction."""
        for name, depth, direction in recurrent_weights(layer):
            rows = gate_rows(layer, idxs, direction)
            self._cut(layer, name, rows, dim=0)
            if "weight_hh" in name:
                own = [unit % layer.hidden_size for unit in idxs if unit // layer.hidden_size == direction]
                self._cut(layer, name, own, dim=1)
            elif "weight_ih" in name and depth > 0:
                self._cut(layer, name, idxs, dim=1)
        layer.hidden_size -= len(idxs) // directions(layer)
        layer.flatten_parameters()
        return layer

    def prune_in_channels(self, layer: nn.RNNBase, idxs: Sequence[int]) -> nn.RNNBase:
        """Remove inputs."""
        for name, depth, _ in recurrent_weights(layer):
            if "weight_ih" in name and depth == 0:
                self._cut(layer, name, idxs, dim=1)
        layer.input_size -= len(idxs)
        layer.flatten_parameters()
        return layer

    def get_out_channels(self, layer: nn.RNNBase) -> int:
        """Return the width of what it returns."""
        return layer.hidden_size * directions(layer)

    def get_in_channels(self, layer: nn.RNNBase) -> int:
        """Return the width of what it takes."""
        return layer.input_size

    def _cut(self, layer: nn.RNNBase, name: str, removed: Sequence[int], *, dim: int) -> None:
        weight = getattr(layer, name)
        kept = sorted(set(range(weight.shape[dim])) - set(removed))
        setattr(layer, name, self._prune_parameter_and_grad(weight, kept, dim))


@contextmanager
def opaque_recurrence(model: nn.Module) -> Iterator[None]:
    """Make every recurrent layer of the model one node of autograd's graph, whichever of its results is used."""
    layers = [module for module in model.modules() if isinstance(module, RECURRENT)]
    for layer in layers:
        layer.forward = MethodType(_forward_as_one_node, layer)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for layer in layers:
            with suppress(AttributeError):
                del layer.forward


class _OneNode(torch.autograd.Function):
    @staticmethod
    def forward(_context: Any, _inputs: torch.Tensor, _anchor: torch.Tensor, *results: torch.Tensor) -> Any:  # noqa: ANN401 - autograd's own type
        return tuple(result.clone() for result in results)


def _forward_as_one_node(layer: nn.RNNBase, inputs: torch.Tensor, *rest: Any) -> Any:  # noqa: ANN401 - as torch's own
    with torch.no_grad():
        results, structure = pytree.tree_flatten(type(layer).forward(layer, inputs, *rest))
    # The weight makes it a node even where the layer comes first and its input takes no gradient.
    nodes = _OneNode.apply(inputs, layer.weight_ih_l0, *results)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return pytree.tree_unflatten(nodes, structure)
