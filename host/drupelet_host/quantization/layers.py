"""The layers of a graph: what is kept in float, timed and judged as one."""

from __future__ import annotations

from dataclasses import dataclass

import onnx

from drupelet_host.onnx_files.graph import first_output

# What has weights or multiplies matrices, and that static int8 computes in integers.
LAYER_OPS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})

_WEIGHT_SUFFIX = ".weight"


@dataclass(frozen=True, slots=True)
class Layer:
    """One convolution or matrix product with what follows it until the next one.

    Attributes:
        name: The first output tensor of its main node; the optimiser and the quantizer keep it.
        op_type: The main node's operator.
        nodes: The nodes' first outputs, the main node's first.
        weight: What the main node's second input is called.
    """

    name: str
    op_type: str
    nodes: tuple[str, ...]
    weight: str = ""

    @property
    def label(self) -> str:
        """What a person knows it by: the PyTorch module's name, where its weight still carries it."""
        module = self.weight.removesuffix(_WEIGHT_SUFFIX)
        return module if module != self.weight else self.name


def find_layers(model: onnx.ModelProto) -> tuple[Layer, ...]:
    """Cut a prepared graph into layers, in its order.

    A node belongs to the last layer among those that its inputs come from; what comes before any layer belongs to the
    first. So an addition of two branches goes with the branch that is computed last.
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
