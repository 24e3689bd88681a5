"""How channels pass operators that work element by element, over space, or over a dimension."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from drupelet_host.pruning.flow.labels import Flow
from drupelet_host.pruning.flow.record import FlowRecord


def pass_elements(record: FlowRecord, inputs: Sequence[torch.Tensor], outputs: Sequence[torch.Tensor]) -> None:
    """Note an operator that works element by element: the channels of all its inputs are one.

    Args:
        record: The record.
        inputs: Its inputs.
        outputs: Its outputs.
    """
    (output,) = outputs
    flows = [record.flow(tensor) for tensor in inputs]
    dims = {flow.dim + output.ndim - tensor.ndim for flow, tensor in zip(flows, inputs, strict=True) if flow}
    if not dims:
        record.set(output, None)
        return
    if len(dims) > 1:
        record.end(inputs, output, reason="channels along different dimensions meet")
        return
    dim = dims.pop()
    result: torch.Tensor | None = None
    unlabelled = False
    for tensor, known in zip(inputs, flows, strict=True):
        own = dim - output.ndim + tensor.ndim
        if own < 0 or tensor.shape[own] == 1:
            continue
        labels = known.labels if known is not None else _labels_of_parameter(record, tensor, own)
        if labels is None:
            unlabelled = True
            continue
        if result is not None:
            record.labels.join(result, labels)
        result = labels
    if result is None or len(result) != output.shape[dim]:
        record.end(inputs, output, reason="a channel meets a whole dimension")
        return
    if unlabelled:
        record.labels.pin(result, "a constant is as wide as the layer")
    record.set(output, Flow(dim, result))


def pass_places(record: FlowRecord, inputs: Sequence[torch.Tensor], outputs: Sequence[torch.Tensor]) -> None:
    """Note an operator over space: the channels stay where they are, unless it changes their number.

    Args:
        record: The record.
        inputs: Its inputs.
        outputs: Its outputs.
    """
    flow = record.flow(inputs[0])
    for output in outputs:
        kept = flow is not None and output.ndim == inputs[0].ndim and output.shape[flow.dim] == len(flow.labels)
        record.set(output, flow if kept else None)
        if flow is not None and not kept:
            record.labels.pin(flow.labels, "an operator over space changes the number of channels")


def pass_dimension(
    record: FlowRecord,
    inputs: Sequence[torch.Tensor],
    outputs: Sequence[torch.Tensor],
    *,
    dims: int | Sequence[int] | None,
    name: str,
) -> None:
    """Note an operator over some dimensions, which may drop them; over the channels it may only add them up.

    Args:
        record: The record.
        inputs: Its inputs.
        outputs: Its outputs.
        dims: The dimensions; empty or None for all.
        name: The operator's name.
    """
    source = inputs[0]
    flow = record.flow(source)
    chosen = [dims] if isinstance(dims, int) else list(dims or range(source.ndim))
    chosen = [dim % max(1, source.ndim) for dim in chosen]
    for output in outputs:
        record.set(output, None)
    if flow is None:
        return
    if flow.dim in chosen:
        if name not in {"sum", "linalg_vector_norm"}:
            record.labels.pin(flow.labels, f"{name} mixes its channels")
        return
    for output in outputs:
        dropped = sum(dim < flow.dim for dim in chosen) if output.ndim < source.ndim else 0
        record.set(output, Flow(flow.dim - dropped, flow.labels))


def _labels_of_parameter(record: FlowRecord, tensor: torch.Tensor, axis: int) -> torch.Tensor | None:
    weight = record.weight(tensor)
    if weight is None or weight[1] != tuple(range(tensor.ndim)) or not isinstance(tensor, torch.nn.Parameter):
        return None
    return record.places.use(tensor, axis, "out")
