"""What is known about the channels of every tensor of a run."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from drupelet_host.pruning.flow.labels import NO_LABEL, ChannelLabels, Flow
from drupelet_host.pruning.flow.places import Places


class FlowRecord:
    """The flow of every tensor, the labels that they are made of, and the places where channels are stored.

    Attributes:
        labels: The labels.
        places: The places.
    """

    def __init__(self, model: nn.Module) -> None:
        """Begin a record.

        Args:
            model: The model that runs.
        """
        self.labels = ChannelLabels()
        self.places = Places(model, self.labels)
        self._flows: dict[int, Flow] = {}
        self._turned: dict[int, tuple[torch.Tensor, tuple[int, ...]]] = {}
        # An id is only good for as long as the tensor lives.
        self._alive: list[torch.Tensor] = []

    def flow(self, tensor: torch.Tensor) -> Flow | None:
        """Return where a tensor's channels lie; None where no layer made any.

        A parameter with one dimension above 1 has its channels there, whatever is done with it.
        """
        known = self._flows.get(id(tensor))
        if known is not None or not self.places.knows(tensor):
            return known
        wide = [dim for dim, size in enumerate(tensor.shape) if size > 1]
        return Flow(wide[0], self.places.use(tensor, wide[0], "out")) if len(wide) == 1 else None

    def set(self, tensor: torch.Tensor, flow: Flow | None) -> None:
        """Note where a tensor's channels lie."""
        self._alive.append(tensor)
        if flow is None:
            self._flows.pop(id(tensor), None)
        else:
            self._flows[id(tensor)] = flow

    def weight(self, tensor: torch.Tensor) -> tuple[torch.Tensor, tuple[int, ...]] | None:
        """Return the parameter that a tensor is, with the parameter's axis of each dimension, if it is one."""
        if self.places.knows(tensor):
            return tensor, tuple(range(tensor.ndim))
        return self._turned.get(id(tensor))

    def turn(self, tensor: torch.Tensor, parameter: torch.Tensor, axes: tuple[int, ...]) -> None:
        """Note that a tensor is a parameter with its dimensions in another order.

        Args:
            tensor: The tensor.
            parameter: The parameter.
            axes: The parameter's axis of each dimension.
        """
        self._alive.append(tensor)
        self._turned[id(tensor)] = (parameter, axes)

    def pin(self, tensors: Sequence[torch.Tensor], reason: str) -> None:
        """State that the channels of these tensors must stay."""
        for tensor in tensors:
            flow = self.flow(tensor)
            if flow is not None:
                self.labels.pin(flow.labels, reason)
            weight = self.weight(tensor)
            if weight is not None and flow is None:
                for axis in range(weight[0].ndim):
                    self.labels.pin(self.places.use(weight[0], axis, "out"), reason)

    def end(self, inputs: Sequence[torch.Tensor], output: torch.Tensor, *, reason: str) -> None:
        """Record an operator that is not followed: the channels of its inputs stay, and its output has none.

        Args:
            inputs: The tensors that the operator reads.
            output: The tensor that it makes.
            reason: Why the channels stay, for people.
        """
        self.pin(inputs, reason)
        self.set(output, None)

    def spread(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return a tensor of labels of the same shape."""
        flow = self.flow(tensor)
        if flow is None:
            return torch.full((1,) * tensor.ndim, NO_LABEL).expand(tensor.shape)
        shape = [1] * tensor.ndim
        shape[flow.dim] = tensor.shape[flow.dim]
        return self.labels.canonical(flow.labels).view(shape).expand(tensor.shape)

    def gather(self, spread: torch.Tensor, *, keep: int | None, reason: str) -> Flow | None:
        """Return the flow of a tensor from the labels of its elements.

        Args:
            spread: The labels.
            keep: The dimension of the channels where the labels differ along several: the others are joined.
            reason: Why the channels must stay where no dimension can hold them alone.
        """
        varying = [dim for dim in range(spread.ndim) if not _is_constant(spread, dim)]
        if not varying:
            self.labels.pin(spread, reason)
            return None
        if len(varying) == 1:
            return Flow(varying[0], _line(spread, varying[0]))
        if keep not in varying:
            self.labels.pin(spread, reason)
            return None
        line = _line(spread, keep)
        shape = [1] * spread.ndim
        shape[keep] = len(line)
        self.labels.mark_split(line)
        self.labels.join(spread, line.view(shape).expand(spread.shape))
        return Flow(keep, line)


def _is_constant(values: torch.Tensor, dim: int) -> bool:
    return bool((values == values.narrow(dim, 0, 1)).all())


def _line(values: torch.Tensor, dim: int) -> torch.Tensor:
    return values.movedim(dim, 0).reshape(values.shape[dim], -1)[:, 0].clone()
