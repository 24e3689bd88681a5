"""Which operator of PyTorch does what to channels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.utils import _pytree as pytree  # torch has no public name for it

from drupelet_host.pruning.flow import movement, weights
from drupelet_host.pruning.flow.arithmetic import pass_dimension, pass_elements, pass_places
from drupelet_host.pruning.flow.labels import Flow
from drupelet_host.pruning.flow.record import FlowRecord

_ELEMENTWISE = frozenset(
    [
        "_prelu_kernel",
        "_to_copy",
        "abs",
        "add",
        "add_",
        "addcdiv",
        "addcmul",
        "alias",
        "bitwise_and",
        "bitwise_not",
        "bitwise_or",
        "celu",
        "clamp",
        "clamp_",
        "clamp_max",
        "clamp_min",
        "clone",
        "contiguous",
        "cos",
        "detach",
        "div",
        "div_",
        "elu",
        "elu_",
        "eq",
        "erf",
        "exp",
        "floor",
        "ge",
        "gelu",
        "gt",
        "hardsigmoid",
        "hardsigmoid_",
        "hardswish",
        "hardswish_",
        "hardtanh",
        "hardtanh_",
        "isnan",
        "le",
        "leaky_relu",
        "leaky_relu_",
        "lerp",
        "lift_fresh",
        "log",
        "log1p",
        "log_sigmoid_forward",
        "logical_and",
        "logical_not",
        "logical_or",
        "lt",
        "masked_fill",
        "maximum",
        "minimum",
        "mish",
        "mish_",
        "mul",
        "mul_",
        "native_dropout",
        "ne",
        "neg",
        "pow",
        "reciprocal",
        "relu",
        "relu6",
        "relu_",
        "round",
        "rsqrt",
        "rsub",
        "sigmoid",
        "sigmoid_",
        "sign",
        "silu",
        "silu_",
        "sin",
        "softplus",
        "softshrink",
        "sqrt",
        "square",
        "sub",
        "sub_",
        "tanh",
        "tanh_",
        "threshold",
        "where",
    ]
)
_OVER_SPACE = frozenset(
    [
        "_adaptive_avg_pool2d",
        "_adaptive_avg_pool3d",
        "adaptive_avg_pool1d",
        "adaptive_max_pool2d",
        "adaptive_max_pool3d",
        "avg_pool1d",
        "avg_pool2d",
        "avg_pool3d",
        "constant_pad_nd",
        "grid_sampler_2d",
        "max_pool2d_with_indices",
        "max_pool3d_with_indices",
        "reflection_pad1d",
        "reflection_pad2d",
        "replication_pad1d",
        "replication_pad2d",
        "upsample_bicubic2d",
        "upsample_bilinear2d",
        "upsample_linear1d",
        "upsample_nearest1d",
        "upsample_nearest2d",
        "upsample_nearest3d",
        "upsample_trilinear3d",
    ]
)
# The position of the dimensions among the arguments.
_OVER_DIMENSIONS = {
    **dict.fromkeys(("all", "amax", "amin", "any", "argmax", "argmin", "max", "mean", "min", "prod", "sum"), 1),
    **dict.fromkeys(
        ("std", "std_mean", "var", "var_mean", "_log_softmax", "_softmax", "cumsum", "logsumexp", "sort"), 1
    ),
    **dict.fromkeys(("linalg_vector_norm", "norm", "topk"), 2),
}
_MOVEMENTS = frozenset(
    [
        "_reshape_alias",
        "_unsafe_view",
        "cat",
        "expand",
        "flip",
        "permute",
        "repeat",
        "reshape",
        "select",
        "squeeze",
        "squeeze_",
        "stack",
        "t",
        "transpose",
        "transpose_",
        "unbind",
        "unsqueeze",
        "unsqueeze_",
        "view",
    ]
)
_TURNS = frozenset({"t", "transpose", "permute"})


def note(
    record: FlowRecord, operator: torch._ops.OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any], result: object
) -> None:
    """Note what an operator did to the channels of its inputs.

    Args:
        record: The record.
        operator: The operator.
        args: Its positional arguments.
        kwargs: Its named arguments.
        result: What it returned.
    """
    name = operator.overloadpacket.__name__
    inputs, outputs = _tensors((args, kwargs)), _tensors(result)
    if not outputs:
        return
    handler = _SPECIAL.get(name)
    if handler is not None:
        handler(record, args, kwargs, outputs)
    elif name in _ELEMENTWISE:
        pass_elements(record, inputs, outputs[:1])
    elif name in _OVER_SPACE:
        pass_places(record, inputs[:1], outputs)
    elif name in _OVER_DIMENSIONS:
        place = _OVER_DIMENSIONS[name]
        dims = args[place] if len(args) > place else kwargs.get("dim")
        pass_dimension(record, inputs, outputs, dims=dims, name=name)
    elif name in _MOVEMENTS and not kwargs:
        _move(record, operator, name, args, outputs)
    elif any(record.flow(tensor) is not None or record.weight(tensor) is not None for tensor in inputs):
        record.pin(inputs, f"the operator {name} is not followed")
        for output in outputs:
            record.set(output, None)


def _move(
    record: FlowRecord, operator: Callable[..., Any], name: str, args: Sequence[Any], outputs: Sequence[torch.Tensor]
) -> None:
    weight = record.weight(args[0]) if name in _TURNS else None
    if weight is not None:
        order = _order(name, args)
        record.turn(outputs[0], weight[0], tuple(weight[1][dim] for dim in order))
        if record.flow(args[0]) is None:
            return
    movement.move(record, operator, args, outputs)


def _order(name: str, args: Sequence[Any]) -> list[int]:
    count = args[0].ndim
    order = list(range(count))
    if name == "permute":
        return [dim % count for dim in args[1]]
    first, second = (0, count - 1) if name == "t" else (args[1] % count, args[2] % count)
    order[first], order[second] = order[second], order[first]
    return order


def _tensors(value: object) -> list[torch.Tensor]:
    return [leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, torch.Tensor)]


def _dim(args: Sequence[Any], place: int) -> int:
    return int(args[place]) if len(args) > place else 0


def _attend(record: FlowRecord, args: Sequence[Any], kwargs: Mapping[str, Any], outputs: list[torch.Tensor]) -> None:
    query, key, value = args[:3]
    left, right, values = record.flow(query), record.flow(key), record.flow(value)
    last = query.ndim - 1
    scaled = kwargs.get("scale") is not None
    if left is None or right is None or values is None or {left.dim, right.dim, values.dim} != {last} or not scaled:
        record.pin(args[:3], "attention has a fixed width")
        record.set(outputs[0], values if values is not None and values.dim == last else None)
        return
    record.labels.join(left.labels, right.labels)
    record.set(outputs[0], Flow(last, values.labels))


def _restride(record: FlowRecord, args: Sequence[Any], _kwargs: Mapping[str, Any], outputs: list[torch.Tensor]) -> None:
    if list(args[1]) == list(args[0].shape):
        record.set(outputs[0], record.flow(args[0]))
        return
    record.pin([args[0]], "its memory is read in another order")
    record.set(outputs[0], None)


def _copy(record: FlowRecord, args: Sequence[Any], _kwargs: Mapping[str, Any], outputs: list[torch.Tensor]) -> None:
    if record.flow(args[0]) is None:
        record.pin([args[1]], "its channels are copied into another tensor")
        return
    pass_elements(record, args[:2], outputs)


_SPECIAL: dict[str, Callable[[FlowRecord, Sequence[Any], Mapping[str, Any], list[torch.Tensor]], None]] = {
    "convolution": lambda record, args, _, outputs: weights.convolve(record, args, outputs[0]),
    "addmm": lambda record, args, _, outputs: weights.multiply_by_weight(record, args[1], args[2], args[0], outputs[0]),
    "mm": lambda record, args, _, outputs: weights.multiply_by_weight(record, args[0], args[1], None, outputs[0]),
    "bmm": lambda record, args, _, outputs: weights.multiply_batches(record, args[0], args[1], outputs[0]),
    "embedding": lambda record, args, _, outputs: weights.embed(record, args[0], outputs[0]),
    "native_batch_norm": lambda record, args, _, outputs: weights.normalize(
        record, args[0], args[1:5], outputs[0], dim=1
    ),
    "native_layer_norm": lambda record, args, _, outputs: _normalize_last(record, args, outputs[0]),
    "native_group_norm": lambda record, args, _, outputs: _normalize_groups(record, args, outputs[0]),
    "split": lambda record, args, _, outputs: movement.split(record, args[0], _dim(args, 2), outputs),
    "split_with_sizes": lambda record, args, _, outputs: movement.split(record, args[0], _dim(args, 2), outputs),
    "slice": lambda record, args, _, outputs: movement.take_range(record, args[0], args[1:], outputs[0]),
    "pixel_shuffle": lambda record, args, _, outputs: movement.pixel_shuffle(record, args[0], args[1], outputs[0]),
    "pixel_unshuffle": lambda record, args, _, outputs: movement.pixel_unshuffle(record, args[0], args[1], outputs[0]),
    "channel_shuffle": lambda record, args, _, outputs: movement.shuffle(record, args[0], args[1], outputs[0]),
    "native_channel_shuffle": lambda record, args, _, outputs: movement.shuffle(record, args[0], args[1], outputs[0]),
    "_scaled_dot_product_flash_attention_for_cpu": _attend,
    "glu": lambda record, args, _, outputs: movement.gate(
        record, args[0], args[1] if len(args) > 1 else -1, outputs[0]
    ),
    "as_strided": _restride,
    "as_strided_": _restride,
    "copy_": _copy,
}
for _name in ("_native_batch_norm_legit", "_native_batch_norm_legit_no_training", "cudnn_batch_norm"):
    _SPECIAL[_name] = _SPECIAL["native_batch_norm"]


def _normalize_last(record: FlowRecord, args: Sequence[Any], output: torch.Tensor) -> None:
    source, shape = args[0], args[1]
    flow = record.flow(source)
    if flow is not None and len(shape) != 1:
        record.labels.pin(flow.labels, "a norm is over several dimensions")
        record.set(output, flow)
        return
    weights.normalize(record, source, args[2:4], output, dim=-1)


def _normalize_groups(record: FlowRecord, args: Sequence[Any], output: torch.Tensor) -> None:
    source, groups = args[0], int(args[6])
    weights.normalize(record, source, args[1:3], output, dim=1)
    flow = record.flow(source)
    if flow is not None and groups > 1:
        record.labels.balance(list(flow.labels.view(groups, -1)))
