"""How channels pass operators that only move elements: the operator is run on the labels themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils import _pytree as pytree  # torch has no public name for it

from drupelet_host.pruning.flow.labels import Flow
from drupelet_host.pruning.flow.record import FlowRecord

_UNEVEN = "the model's code splits its channels in unequal parts"


def move(
    record: FlowRecord, operator: Callable[..., Any], args: Sequence[Any], outputs: Sequence[torch.Tensor]
) -> None:
    """Note an operator that moves elements.

    Args:
        record: The record.
        operator: The operator.
        args: Its arguments.
        outputs: Its outputs.
    """
    sources = [value for value in pytree.tree_leaves(args) if isinstance(value, torch.Tensor)]
    flows = [flow for flow in map(record.flow, sources) if flow is not None]
    if not flows:
        for output in outputs:
            record.set(output, None)
        return
    # Contiguous: labels are spread without copies, and a view of the tensor need not be one of them.
    spread = operator(*pytree.tree_map_only(torch.Tensor, lambda tensor: record.spread(tensor).contiguous(), args))
    results = [spread] if isinstance(spread, torch.Tensor) else list(spread)
    for labels, output in zip(results, outputs, strict=True):
        keep = _kept_dimension(flows[0], sources, labels)
        record.set(output, record.gather(labels, keep=keep, reason="the model's code picks one of its channels"))


def split(record: FlowRecord, source: torch.Tensor, dim: int, outputs: Sequence[torch.Tensor]) -> None:
    """Note that a tensor is split into parts; where these are parts of the channels, as many go from each.

    Args:
        record: The record.
        source: The tensor.
        dim: The dimension that is split.
        outputs: The parts.
    """
    flow = record.flow(source)
    if flow is None or flow.dim != dim % source.ndim:
        for output in outputs:
            record.set(output, flow)
        return
    parts = list(torch.split(flow.labels, [output.shape[flow.dim] for output in outputs]))
    _divide(record, parts)
    for labels, output in zip(parts, outputs, strict=True):
        record.set(output, Flow(flow.dim, labels))


def take_range(record: FlowRecord, source: torch.Tensor, args: Sequence[Any], output: torch.Tensor) -> None:
    """Note a slice, of the arguments dimension, start, end and step; of channels, as many go outside as inside.

    Args:
        record: The record.
        source: Its input.
        args: The arguments.
        output: Its output.
    """
    dim, start, end, step = (list(args) + [0, None, None, 1][len(args) :])[:4]
    flow = record.flow(source)
    if flow is None or flow.dim != dim % source.ndim or output.shape == source.shape:
        record.set(output, flow)
        return
    size = len(flow.labels)
    first, last, step = slice(start, end, step).indices(size)
    if step != 1:
        record.labels.pin(flow.labels, "the model's code picks channels by a step")
    parts = [part for part in (flow.labels[:first], flow.labels[first:last], flow.labels[last:]) if len(part)]
    _divide(record, parts)
    record.set(output, Flow(flow.dim, flow.labels[first:last:step]))


def gate(record: FlowRecord, source: torch.Tensor, dim: int, output: torch.Tensor) -> None:
    """Note a gated linear unit: a channel of one half goes together with the one that gates it.

    Args:
        record: The record.
        source: Its input.
        dim: The dimension that is halved.
        output: Its output.
    """
    flow = record.flow(source)
    if flow is None or flow.dim != dim % source.ndim:
        record.set(output, flow)
        return
    values, gates = flow.labels.chunk(2)
    record.labels.mark_split(flow.labels)
    record.labels.join(values, gates)
    record.set(output, Flow(flow.dim, values.clone()))


def pixel_shuffle(record: FlowRecord, source: torch.Tensor, factor: int, output: torch.Tensor) -> None:
    """Note a pixel shuffle: the channels of one output channel go together.

    Args:
        record: The record.
        source: Its input.
        factor: The factor of the picture's sides.
        output: Its output.
    """
    flow = _picture_channels(record, source, output)
    if flow is None:
        return
    blocks = flow.labels.view(-1, factor**2)
    record.labels.mark_split(flow.labels)
    record.labels.join(blocks, blocks[:, :1].expand(blocks.shape))
    record.set(output, Flow(flow.dim, blocks[:, 0].clone()))


def pixel_unshuffle(record: FlowRecord, source: torch.Tensor, factor: int, output: torch.Tensor) -> None:
    """Note the reverse of a pixel shuffle: each channel becomes several.

    Args:
        record: The record.
        source: Its input.
        factor: The factor of the picture's sides.
        output: Its output.
    """
    flow = _picture_channels(record, source, output)
    if flow is None:
        return
    record.set(output, Flow(flow.dim, flow.labels.repeat_interleave(factor**2)))


def shuffle(record: FlowRecord, source: torch.Tensor, groups: int, output: torch.Tensor) -> None:
    """Note a channel shuffle: the channels at the same place of all groups go together.

    Args:
        record: The record.
        source: Its input.
        groups: The number of groups.
        output: Its output.
    """
    flow = record.flow(source)
    if flow is None or flow.dim != 1:
        record.end([source], output, reason="a channel shuffle moves its channels")
        return
    table = flow.labels.view(groups, -1)
    record.labels.mark_split(flow.labels)
    record.labels.join(table, table[:1].expand(table.shape))
    record.set(output, Flow(1, table.t().flatten()))


def _picture_channels(record: FlowRecord, source: torch.Tensor, output: torch.Tensor) -> Flow | None:
    """Return the flow of a picture whose channels lie before its sides; end it and return None for any other."""
    flow = record.flow(source)
    if flow is not None and flow.dim == source.ndim - 3:
        return flow
    record.end([source], output, reason="a pixel shuffle moves its channels")
    return None


def _divide(record: FlowRecord, parts: list[torch.Tensor]) -> None:
    if len({len(part) for part in parts}) == 1:
        record.labels.balance(parts)
        return
    record.labels.pin(torch.cat(parts), _UNEVEN)


def _kept_dimension(flow: Flow, sources: Sequence[torch.Tensor], labels: torch.Tensor) -> int | None:
    """Return the dimension that keeps the channels where several have different labels."""
    varying = [dim for dim in range(labels.ndim) if bool((labels != labels.narrow(dim, 0, 1)).any())]
    if not varying:
        return None
    if len(sources) == 1:
        return varying[-1]
    # Joined tensors: along the dimension where they are joined, the channels are the same ones.
    return flow.dim + labels.ndim - sources[0].ndim if flow.dim + labels.ndim - sources[0].ndim in varying else flow.dim
