"""Nodes that cannot be int8: found by what is known of them, and by trying."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence

import onnx

from drupelet_host.onnx_files.graph import subgraphs, walk_nodes
from drupelet_host.quantization.layers import LAYER_OPS

log = logging.getLogger(__name__)

_QUANTIZERS = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"})
# The quantizer drops those before an int8 tensor that cannot hold what they cut off.
_DROPPED = frozenset({"Clip", "Relu"})
# What a node reads of that size, such as an embedding, is worth storing as int8.
_MANY_VALUES = 128

# Says what is wrong when only these nodes are int8; None when nothing is.
Try = Callable[[frozenset[str]], str | None]


def find_known(model: onnx.ModelProto) -> dict[str, str]:
    """Return the nodes that are known to stay in float, with the reason."""
    reasons = {}
    captured = {
        name
        for node in model.graph.node
        for graph in subgraphs(node)
        for inner in walk_nodes(graph.node)
        for name in inner.input
    }
    written = {name for node in model.graph.node if node.op_type in _QUANTIZERS for name in (*node.input, *node.output)}
    for node in model.graph.node:
        group = next((entry.i for entry in node.attribute if entry.name == "group"), 1)
        if node.op_type not in _QUANTIZERS and written.intersection((*node.input, *node.output)):
            reasons[node.name] = "the file has it quantized already"
        elif node.op_type in _DROPPED and captured.intersection(node.output):
            reasons[node.name] = "a branch or a loop reads it, and ONNX Runtime's quantizer would take it away"
        elif node.op_type == "ConvTranspose" and group > 1:
            reasons[node.name] = "ONNX Runtime cannot quantize a grouped transposed convolution"
    return reasons


def find_idle(model: onnx.ModelProto, *, movable: frozenset[str]) -> set[str]:
    """Return the nodes that are connected with no int8 layer and no weights: int8 would cost and save nothing there.

    An addition of squares before a root, as in a spectrogram, is one: its range is wide, and one scale would lose the
    quiet parts.

    Args:
        model: The prepared graph.
        movable: The operators, besides layers, that a quantizer would make int8.
    """
    members = {node.name: node for node in model.graph.node if node.op_type in movable | LAYER_OPS}
    readers: dict[str, list[str]] = {}
    for node in members.values():
        for tensor in (*node.input, *node.output):
            readers.setdefault(tensor, []).append(node.name)
    constants = {tensor.name: math.prod(tensor.dims) for tensor in model.graph.initializer}
    useful: set[str] = set()
    pending = [
        node.name
        for node in members.values()
        if node.op_type in LAYER_OPS or any(constants.get(name, 0) >= _MANY_VALUES for name in node.input)
    ]
    while pending:
        name = pending.pop()
        if name not in useful:
            useful.add(name)
            tensors = {*members[name].input, *members[name].output} - constants.keys()
            pending.extend(reader for tensor in tensors for reader in readers[tensor])
    return members.keys() - useful


def find_by_trying(nodes: Sequence[str], attempt: Try) -> dict[str, str]:
    """Return the nodes without which the others can be int8, with what goes wrong with each.

    Halves the nodes until the culprits are alone, so that one of a thousand takes twenty attempts.

    Args:
        nodes: The nodes that may be int8, in the order of the graph.
        attempt: Quantizes some of them and loads the result.
    """
    fault = attempt(frozenset(nodes))
    if fault is None:
        return {}
    log.debug("quantizing failed nodes=%d fault=%s", len(nodes), fault)
    if len(nodes) == 1:
        return {nodes[0]: fault}
    middle = len(nodes) // 2
    reasons = find_by_trying(nodes[:middle], attempt) | find_by_trying(nodes[middle:], attempt)
    rest = [name for name in nodes if name not in reasons]
    if not rest:
        return reasons
    # Each half works alone and both do not together: the first node goes with which those before it break.
    while (fault := attempt(frozenset(rest))) is not None:
        culprit = _find_breaking(rest, attempt)
        reasons[rest.pop(culprit)] = fault
    return reasons


def _find_breaking(nodes: Sequence[str], attempt: Try) -> int:
    """Return the position of the last node of the shortest beginning that does not work."""
    low, high = 0, len(nodes)
    while high - low > 1:
        middle = (low + high) // 2
        if attempt(frozenset(nodes[:middle])) is None:
            low = middle
        else:
            high = middle
    return high - 1
