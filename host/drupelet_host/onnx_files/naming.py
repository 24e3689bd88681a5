"""Tensor names that a quantizer would give to tensors of its own."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable

import onnx

from drupelet_host.onnx_files.graph import read_constants, rename_tensors, walk_nodes

# What ONNX Runtime's quantizers and this compiler append to the name of a tensor.
_DERIVED = re.compile(
    r"(_output)?_(quantized|scale|zero_point|dequantized|float16|QuantizeLinear|DequantizeLinear|quant_scales)(\w*)$"
)


def avoid_collisions(model: onnx.ModelProto) -> None:
    """Rename tensors, in place, whose names a quantizer would derive from other tensors of the graph.

    Names of inputs and outputs stay: there, the tensor is renamed that the name would be derived from.
    """
    graph = model.graph
    fixed = {info.name for info in (*graph.input, *graph.output)}
    names = set(_list_names(graph))
    renamed: dict[str, str] = {}
    for name in sorted(names):
        base = _find_base(name, names)
        if base is None:
            continue
        victim = name if name not in fixed else base
        if victim not in fixed and victim not in renamed:
            renamed[victim] = _pick_name(victim, names | set(renamed.values()))
    if renamed:
        rename_tensors(graph, renamed)


def _find_base(name: str, names: set[str]) -> str | None:
    """Return the tensor of whose name this one is an extension that a quantizer could make."""
    base = name
    while match := _DERIVED.search(base):
        base = base[: match.start()]
        if base in names:
            return base
    return None


def _list_names(graph: onnx.GraphProto) -> Iterable[str]:
    yield from read_constants(graph)
    yield from (info.name for info in (*graph.input, *graph.output))
    for node in walk_nodes(graph.node):
        yield from (name for name in (*node.input, *node.output) if name)


def _pick_name(name: str, names: set[str]) -> str:
    stem = _DERIVED.sub("", name) or "tensor"
    return next(candidate for number in itertools.count(1) if (candidate := f"{stem}.{number}") not in names)
