"""Constants that folding wrote out although the file is smaller without: put back as the nodes that compute them."""

from __future__ import annotations

import math

import onnx
from onnx import helper

from drupelet_host.onnx_files.graph import read_constants, sort_nodes

# Smaller constants cost no more than the nodes that they replace.
_SMALL_BYTES = 1024


def undo_large_folds(folded: onnx.ModelProto, original: onnx.ModelProto, *, may_repeat: bool) -> None:
    """Replace, in place, each folded constant that takes more bytes than what it was computed from.

    A range that spans a table of a megabyte, a transposed copy of a weight that is used as it is too, a float32 copy of
    float16 weights: ONNX Runtime folds them again as it opens a session, so an inference costs the same.

    Args:
        folded: The optimised model; ONNX Runtime keeps the names of the tensors that remain.
        original: The model before.
        may_repeat: Whether a constant may be as large as what it comes from although that stays in the file, as for a
            quantizer, which stores both in a quarter of the bytes.
    """
    known, present = _read_stored(original.graph), read_constants(folded.graph)
    makers = {name: node for node in original.graph.node for name in node.output if name}
    for name, tensor in present.items():
        if name in known or name not in makers or _count_bytes(tensor) <= _SMALL_BYTES:
            continue
        nodes, sources = _trace(name, makers, known)
        if nodes is None:
            continue
        allowed = sum(_count_bytes(known[source]) for source in sources if may_repeat or source not in present)
        if _count_bytes(tensor) > allowed + _SMALL_BYTES:
            _restore(folded.graph, name, nodes, [known[source] for source in sources])
    sort_nodes(folded.graph)


def _read_stored(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    """Return what the file stores by name: initializers, and the values of Constant nodes, as Paddle writes weights."""
    values = {
        node.output[0]: attribute.t
        for node in graph.node
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.name == "value"
    }
    stored = read_constants(graph)
    for name, value in values.items():
        stored[name] = onnx.TensorProto()
        stored[name].CopyFrom(value)
        stored[name].name = name
    return stored


def _trace(
    name: str, makers: dict[str, onnx.NodeProto], known: dict[str, onnx.TensorProto]
) -> tuple[list[onnx.NodeProto] | None, list[str]]:
    """Return the nodes and constants that a tensor is computed from; None for nodes that hold graphs."""
    nodes: dict[str, onnx.NodeProto] = {}
    sources: dict[str, None] = {}
    pending = [name]
    while pending:
        tensor = pending.pop()
        if tensor in known:
            sources[tensor] = None
            continue
        node = makers.get(tensor)
        if node is None or any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
            return None, []
        if node.output[0] not in nodes:
            nodes[node.output[0]] = node
            pending.extend(read for read in node.input if read)
    return list(nodes.values()), list(sources)


def _restore(graph: onnx.GraphProto, name: str, nodes: list[onnx.NodeProto], sources: list[onnx.TensorProto]) -> None:
    present = read_constants(graph)
    graph.initializer.remove(present[name])
    made = {output for node in graph.node for output in node.output} | (present.keys() - {name})
    for tensor in sources:
        if tensor.name not in made:
            graph.initializer.add().CopyFrom(tensor)
            made.add(tensor.name)
    for node in nodes:
        if not made.intersection(node.output):
            graph.node.add().CopyFrom(node)
            made.update(node.output)


def _count_bytes(tensor: onnx.TensorProto) -> int:
    try:
        item = helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    except (KeyError, TypeError):
        return int(tensor.ByteSize())
    return int(math.prod(tensor.dims) * item)
