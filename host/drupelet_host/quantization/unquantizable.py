"""Nodes that cannot be int8: found by what is known of them, and by trying."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import onnx

log = logging.getLogger(__name__)

_QUANTIZERS = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"})

# Says what is wrong when only these nodes are int8; None when nothing is.
Try = Callable[[frozenset[str]], str | None]


def find_known(model: onnx.ModelProto) -> dict[str, str]:
    """Return the nodes that are known to stay in float, with the reason."""
    found = {}
    written = {name for node in model.graph.node if node.op_type in _QUANTIZERS for name in (*node.input, *node.output)}
    for node in model.graph.node:
        group = next((entry.i for entry in node.attribute if entry.name == "group"), 1)
        if node.op_type not in _QUANTIZERS and written.intersection((*node.input, *node.output)):
            found[node.name] = "the file has it quantized already"
        elif node.op_type == "ConvTranspose" and group > 1:
            found[node.name] = "ONNX Runtime cannot quantize a grouped transposed convolution"
    return found


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
    found = find_by_trying(nodes[:middle], attempt) | find_by_trying(nodes[middle:], attempt)
    rest = [name for name in nodes if name not in found]
    if not rest:
        return found
    # Each half works alone and both do not together: the second half goes, one node after another.
    while rest and (fault := attempt(frozenset(rest))) is not None:
        found[rest.pop()] = fault
    return found
