"""How channels pass operators with weights: convolutions, linear layers, embeddings, products and norms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from drupelet_host.pruning.flow.labels import Flow
from drupelet_host.pruning.flow.record import FlowRecord

_CHANNEL_DIM = 1
_MATRIX = 2


def convolve(record: FlowRecord, args: Sequence[Any], output: torch.Tensor) -> None:
    """Note a convolution with the arguments of `aten::convolution`.

    Args:
        record: The record.
        args: The arguments.
        output: Its output.
    """
    source, weight, bias = args[:3]
    transposed, groups = bool(args[6]), int(args[8])
    flow, parameter = record.flow(source), record.weight(weight)
    batched = source.ndim == weight.ndim
    if flow is not None and flow.dim > _CHANNEL_DIM:
        record.end([source, weight], output, reason="a convolution slides over its channels")
        return
    if (
        parameter is None
        or parameter[1] != tuple(range(weight.ndim))
        or (flow and flow.dim != _CHANNEL_DIM)
        or not batched
    ):
        record.end([source, weight], output, reason="a convolution takes its channels in an unusual way")
        return
    inputs, outputs = source.shape[1], output.shape[1]
    if 1 < groups == inputs == outputs:
        _convolve_each(record, flow, weight, bias, output)
        return
    made = record.places.produce(weight, int(transposed), size=outputs)
    if groups > 1 and transposed:
        _share_outputs(record, made, groups)
    elif groups > 1:
        record.labels.balance(list(made.view(groups, -1)))
    if flow is not None and transposed and groups > 1:
        own = record.places.use(weight, 0, "in")
        record.labels.balance(list(own.view(groups, -1)))
        record.labels.join(flow.labels, own)
    elif flow is not None:
        _take(record, flow.labels, weight, 1 - int(transposed), groups=groups)
    _add_bias(record, weight, bias, made)
    record.set(output, Flow(_CHANNEL_DIM, made))


def _share_outputs(record: FlowRecord, made: torch.Tensor, groups: int) -> None:
    """Note that the groups of a transposed convolution have one set of weights for the same output of each."""
    table = made.view(groups, -1)
    record.labels.mark_split(made)
    record.labels.join(table, table[:1].expand(table.shape))


def _convolve_each(
    record: FlowRecord, flow: Flow | None, weight: torch.Tensor, bias: torch.Tensor | None, output: torch.Tensor
) -> None:
    """Note a depthwise convolution: each channel becomes one channel."""
    own = record.places.use(weight, 0, "out")
    if flow is None:
        record.labels.pin(own, "its inputs are the model's")
    else:
        record.labels.join(own, flow.labels)
    _add_bias(record, weight, bias, own)
    record.set(output, Flow(_CHANNEL_DIM, own))


def multiply_by_weight(
    record: FlowRecord, source: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, output: torch.Tensor
) -> None:
    """Note a product of a matrix and a weight of shape (inputs, outputs), plus a bias.

    Args:
        record: The record.
        source: The matrix.
        weight: The weight, as it is multiplied.
        bias: The bias, or None.
        output: The result.
    """
    parameter, flow = record.weight(weight), record.flow(source)
    if parameter is None or (flow is not None and flow.dim != source.ndim - 1):
        record.end([source, weight], output, reason="a product takes its channels in an unusual way")
        return
    stored, axes = parameter
    if flow is not None:
        _take(record, flow.labels, stored, axes[0], groups=1)
    made = record.places.produce(stored, axes[1])
    _add_bias(record, stored, bias, made)
    record.set(output, Flow(output.ndim - 1, made))


def multiply_batches(record: FlowRecord, first: torch.Tensor, second: torch.Tensor, output: torch.Tensor) -> None:
    """Note a product of batches of matrices: channels that are summed over go together on both sides.

    Args:
        record: The record.
        first: Of shape (batch, rows, inner).
        second: Of shape (batch, inner, columns).
        output: Of shape (batch, rows, columns).
    """
    left, right = record.flow(first), record.flow(second)
    rows = left if left is not None and left.dim == first.ndim - 2 else None
    columns = right if right is not None and right.dim == second.ndim - 1 else None
    inner = [flow for flow, kept in ((left, rows), (right, columns)) if flow is not None and kept is None]
    sound = (left is None or left.dim >= first.ndim - 2) and (right is None or right.dim >= second.ndim - 2)
    if not sound or (rows and columns) or len(inner) == 1:
        record.end([first, second], output, reason="a product of two tensors mixes its channels")
        return
    if inner:
        record.labels.join(inner[0].labels, inner[1].labels)
    if rows is not None:
        record.set(output, Flow(output.ndim - 2, rows.labels))
    elif columns is not None:
        record.set(output, Flow(output.ndim - 1, columns.labels))
    else:
        record.set(output, None)


def embed(record: FlowRecord, weight: torch.Tensor, output: torch.Tensor) -> None:
    """Note an embedding.

    Args:
        record: The record.
        weight: The weight.
        output: Its output.
    """
    if record.weight(weight) is None or not record.places.knows(weight):
        record.set(output, None)
        return
    record.set(output, Flow(output.ndim - 1, record.places.produce(weight, 1)))


def normalize(
    record: FlowRecord, source: torch.Tensor, own: Sequence[torch.Tensor | None], output: torch.Tensor, *, dim: int
) -> None:
    """Note a norm with one weight for each channel.

    Args:
        record: The record.
        source: What is normalized.
        own: Its weight, bias and running statistics, where it has them.
        output: The result.
        dim: The dimension of the channels.
    """
    flow = record.flow(source)
    record.set(output, flow)
    if flow is None:
        return
    if flow.dim != dim % source.ndim:
        record.labels.pin(flow.labels, "a norm is over another dimension")
        return
    held = [parameter for parameter in own if parameter is not None]
    if not held:
        record.labels.pin(flow.labels, "a norm without weights has a fixed width")
    for parameter in held:
        if not record.places.knows(parameter):
            record.labels.pin(flow.labels, "a norm's weights are computed")
            continue
        labels = record.places.use(parameter, 0, "out")
        if len(labels) != len(flow.labels):
            record.labels.pin(flow.labels, "a norm has another width")
        else:
            record.labels.join(labels, flow.labels)


def _take(record: FlowRecord, labels: torch.Tensor, weight: torch.Tensor, axis: int, *, groups: int) -> None:
    """Join the channels that arrive with the weight's; a grouped convolution takes one from each group together."""
    own = record.places.use(weight, axis, "in")
    arriving = labels.view(groups, -1)
    if groups > 1 and record.labels.is_split(labels.tolist()):
        record.labels.mark_split(labels)
    record.labels.join(arriving, own.view(1, -1).expand(arriving.shape))


def _add_bias(record: FlowRecord, weight: torch.Tensor, bias: torch.Tensor | None, made: torch.Tensor) -> None:
    if bias is None:
        return
    if not record.places.knows(bias):
        record.labels.pin(made, "its bias is computed")
    elif not record.places.owner(weight) or record.places.owner(bias) != record.places.owner(weight):
        record.labels.join(record.places.use(bias, 0, "out"), made)
