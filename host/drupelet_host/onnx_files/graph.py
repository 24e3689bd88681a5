"""Reads, queries and edits ONNX graphs."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import numpy_helper

from drupelet_host.errors import ExportError
from drupelet_shared.engines.onnxruntime import EXACT_INT8

Array = npt.NDArray[Any]

# Metadata that ONNX Runtime's tools add to a file.
_TOOL_KEYS = {"onnx.quant.pre_process", "onnx.infer"}
_ERRORS_ONLY = 3


def load_model(path: Path) -> onnx.ModelProto:
    """Read an ONNX file with its external data.

    Raises:
        ExportError: The file is not an ONNX model.
    """
    try:
        model = onnx.load(path)
    except Exception as error:  # protobuf's and onnx's exceptions share no base class
        raise ExportError(f"{path.name}: not an ONNX model: {first_line(error)}") from error
    if not model.graph.node:
        raise ExportError(f"{path.name}: not an ONNX model: its graph has no nodes")
    return model


def copy_model(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return an independent copy of a model."""
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    return copied


def open_session(
    model: onnx.ModelProto | Path,
    *,
    name: str = "model",
    optimisation: ort.GraphOptimizationLevel = ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
) -> ort.InferenceSession:
    """Return a session on the CPU whose results are reproducible.

    Args:
        model: The model, or the path of its file.
        name: The model's name, for messages.
        optimisation: ONNX Runtime's level of graph optimisation.

    Raises:
        ExportError: ONNX Runtime cannot load the model.
    """
    options = ort.SessionOptions()
    options.graph_optimization_level = optimisation
    options.use_deterministic_compute = True
    options.add_session_config_entry(EXACT_INT8, "1")
    options.log_severity_level = _ERRORS_ONLY
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    try:
        return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
        raise ExportError(f"{name}: ONNX Runtime {ort.__version__} cannot load it: {first_line(error)}") from error


def read_constants(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    """Return the initializers by name."""
    return {tensor.name: tensor for tensor in graph.initializer}


def first_output(node: onnx.NodeProto) -> str:
    """Return the name of a node's first output tensor, which identifies the node across optimisations."""
    return next(str(name) for name in node.output if name)


def find_float_tensors(graph: onnx.GraphProto) -> set[str]:
    """Return the names of float32 inputs and node outputs, without initializers."""
    infos = (*graph.value_info, *graph.input, *graph.output)
    floats = {info.name for info in infos if info.type.tensor_type.elem_type == onnx.TensorProto.FLOAT}
    return floats - read_constants(graph).keys()


def strip_unused(model: onnx.ModelProto) -> None:
    """Remove unused nodes, initializers and operator sets, and metadata that tools add; in place."""
    nodes = _find_needed(model.graph)
    used = {info.name for info in model.graph.output}.union(*map(_reads, nodes))
    domains = {inner.domain for inner in _walk(nodes)} | {""}
    _keep(model.graph.node, nodes)
    _keep(model.graph.initializer, [tensor for tensor in model.graph.initializer if tensor.name in used])
    _keep(model.opset_import, [opset for opset in model.opset_import if opset.domain in domains])
    _keep(model.metadata_props, [prop for prop in model.metadata_props if prop.key not in _TOOL_KEYS])


def replace_constant(graph: onnx.GraphProto, name: str, values: Array) -> None:
    """Replace the values of an initializer.

    Args:
        graph: The graph.
        name: The name of the initializer.
        values: The new values.
    """
    read_constants(graph)[name].CopyFrom(numpy_helper.from_array(values, name))


def first_line(error: Exception) -> str:
    """Return the first line of an exception's message, for exceptions of other libraries."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@contextmanager
def quiet_tools() -> Iterator[None]:
    """Silence the advice that ONNX Runtime's tools write to the root logger."""
    previous = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(previous)


def relative_error(found: Mapping[str, Array], expected: Mapping[str, Array]) -> float:
    """Return the largest difference of any output, relative to its largest value; infinity if shapes differ."""
    return max((_difference(found[name], wanted) for name, wanted in expected.items()), default=0.0)


def _difference(found: Array, expected: Array) -> float:
    if found.shape != expected.shape:
        return float("inf")
    if expected.size == 0 or np.array_equal(found, expected):
        return 0.0
    if not np.issubdtype(expected.dtype, np.number):
        return float("inf")
    scale = float(np.abs(expected).max()) or 1.0
    gap = np.abs(found.astype(np.float64) - expected.astype(np.float64)).max()
    return float(np.nan_to_num(gap, nan=np.inf)) / scale


def _find_needed(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Return the nodes that outputs depend on, in graph order."""
    makers = {name: index for index, node in enumerate(graph.node) for name in node.output if name}
    needed: set[int] = set()
    wanted = [info.name for info in graph.output]
    while wanted:
        index = makers.get(wanted.pop())
        if index is not None and index not in needed:
            needed.add(index)
            wanted.extend(_reads(graph.node[index]))
    return [graph.node[index] for index in sorted(needed)]


def _reads(node: onnx.NodeProto) -> set[str]:
    """Return the names of the tensors that a node reads, including those that its subgraphs read or return."""
    given = {info.name for graph in _subgraphs(node) for info in graph.output}
    return given.union(*(inner.input for inner in _walk([node])))


def _walk(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Yield the nodes and those of their subgraphs."""
    for node in nodes:
        yield node
        for graph in _subgraphs(node):
            yield from _walk(graph.node)


def _subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        yield from attribute.graphs
        if attribute.HasField("g"):
            yield attribute.g


def _keep(field: Any, kept: list[Any]) -> None:  # noqa: ANN401 - protobuf's repeated fields have no common type
    copies = [type(item).FromString(item.SerializeToString()) for item in kept]
    del field[:]
    field.extend(copies)
