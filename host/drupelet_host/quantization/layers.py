"""Divides a graph into layers, the units that are quantized, timed and scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import onnx

from drupelet_host.onnx_files.graph import first_output

# Operators with weights, and matrix products, that static int8 computes with integers.
LAYER_OPS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})

_WEIGHT_SUFFIX = ".weight"


@dataclass(frozen=True, slots=True)
class Layer:
    """One convolution or matrix product, with the nodes that follow it up to the next one.

    Attributes:
        name: The name of the main node's first output tensor, which the optimiser and the quantizer preserve.
        op_type: The main node's operator.
        nodes: The names of the nodes' first outputs, beginning with the main node's.
        weight: The name of the main node's second input.
    """

    name: str
    op_type: str
    nodes: tuple[str, ...]
    weight: str = ""

    @property
    def label(self) -> str:
        """The name for people: the PyTorch module's, where the weight's name still contains it."""
        module = self.weight.removesuffix(_WEIGHT_SUFFIX)
        return module if module != self.weight else self.name


def match_layers(layers: Sequence[Layer], patterns: Sequence[str]) -> dict[str, list[str]]:
    """Return for each pattern the names of the layers it matches, by the names of their tensors or of their modules.

    Args:
        layers: The layers of a graph.
        patterns: `fnmatch` patterns.
    """
    return {
        pattern: [
            layer.name for layer in layers if fnmatchcase(layer.name, pattern) or fnmatchcase(layer.label, pattern)
        ]
        for pattern in patterns
    }


def find_layers(model: onnx.ModelProto) -> tuple[Layer, ...]:
    """Divide a prepared graph into layers, in graph order.

    A node belongs to the last layer among those that compute its inputs; nodes before the first layer belong to the
    first. An addition of two branches therefore belongs to the branch that is computed last.
    """
    heads: list[onnx.NodeProto] = []
    members: list[list[str]] = []
    owners: dict[str, int] = {}
    before: list[str] = []
    for node in model.graph.node:
        name = first_output(node)
        owner = max((owners[tensor] for tensor in node.input if tensor in owners), default=None)
        if node.op_type in LAYER_OPS:
            owner = len(heads)
            heads.append(node)
            members.append([])
        if owner is None:
            before.append(name)
            continue
        members[owner].append(name)
        owners.update(dict.fromkeys(node.output, owner))
    if members:
        members[0].extend(before)
    return tuple(
        Layer(first_output(head), head.op_type, tuple(names), head.input[1])
        for head, names in zip(heads, members, strict=True)
    )
