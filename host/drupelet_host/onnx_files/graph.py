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
from drupelet_shared.engines.onnxruntime import EXACT_INT8, create_session

Array = npt.NDArray[Any]

# Metadata that ONNX Runtime's tools add to a file.
_TOOL_KEYS = {"onnx.quant.pre_process", "onnx.infer"}
# Smaller constants, such as the arguments of a shape, stay where they are.
_MANY_VALUES = 128
_FLOATS = frozenset({onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE})
# What goes wrong is raised too.
_FATAL_ONLY = 4


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

    def make_options(exact: bool) -> ort.SessionOptions:  # noqa: FBT001 - the callable's only parameter
        options = ort.SessionOptions()
        options.graph_optimization_level = optimisation
        options.use_deterministic_compute = True
        options.add_session_config_entry(EXACT_INT8, "1" if exact else "0")
        options.log_severity_level = _FATAL_ONLY
        return options

    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    try:
        return create_session(source, make_options)
    except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
        raise ExportError(f"{name}: ONNX Runtime {ort.__version__} cannot load it: {first_line(error)}") from error


def has_subgraphs(model: onnx.ModelProto) -> bool:
    """Return whether a node holds a graph, as If and Loop do."""
    return any(True for node in model.graph.node for _ in subgraphs(node))


def write_optimised(source: Path, path: Path, *, name: str, fold: bool = True) -> None:
    """Write a model after ONNX Runtime's basic optimisations, which hold on any processor.

    Args:
        source: The model's file.
        path: The optimised file.
        name: The model's name, for messages.
        fold: Whether constants are folded.

    Raises:
        ExportError: ONNX Runtime cannot optimise the model.
    """
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(path)
    options.log_severity_level = _FATAL_ONLY
    disabled = set() if fold else {"ConstantFolding"}
    try:
        ort.InferenceSession(str(source), options, providers=["CPUExecutionProvider"], disabled_optimizers=disabled)
    except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
        raise ExportError(f"{name}: ONNX Runtime cannot optimise it: {first_line(error)}") from error


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
    domains = {inner.domain for inner in walk_nodes(nodes)} | {""}
    _keep(model.graph.node, nodes)
    _keep(model.graph.initializer, [tensor for tensor in model.graph.initializer if tensor.name in used])
    _keep(model.opset_import, [opset for opset in model.opset_import if opset.domain in domains])
    _keep(model.metadata_props, [prop for prop in model.metadata_props if prop.key not in _TOOL_KEYS])


def sort_nodes(graph: onnx.GraphProto) -> None:
    """Bring the nodes into an order in which every tensor is made before it is read, in place; else the order stays."""
    made = {output: position for position, node in enumerate(graph.node) for output in node.output if output}
    order: dict[int, None] = {}
    for first in range(len(graph.node)):
        stack = [first]
        while stack:
            position = stack[-1]
            before = {made[name] for name in _reads(graph.node[position]) if name in made} - order.keys() - {position}
            if not before or len(stack) > len(graph.node):
                order[stack.pop()] = None
            else:
                stack.extend(sorted(before, reverse=True))
    if list(order) != sorted(order):
        _keep(graph.node, [graph.node[position] for position in order])


def rename_tensors(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    """Rename tensors wherever they are made or read, in place, also in the graphs inside nodes.

    Args:
        graph: The graph.
        names: The new names by the old ones.
    """
    for inner in [graph, *_inner_graphs(graph.node)]:
        for holder in (*inner.initializer, *inner.value_info, *inner.input, *inner.output):
            holder.name = names.get(holder.name, holder.name)
        for node in inner.node:
            for field in (node.input, node.output):
                for index, name in enumerate(field):
                    field[index] = names.get(name, name)


def _inner_graphs(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.GraphProto]:
    for node in walk_nodes(nodes):
        yield from subgraphs(node)


def lift_inner_constants(graph: onnx.GraphProto) -> None:
    """Move the constants of the graphs inside nodes, such as the body of a loop, to the outer graph; in place.

    A graph inside a node reads the tensors of the graph around it, and there each constant is stored, counted and
    converted as any other.
    """
    taken = set(read_constants(graph)) | {info.name for info in (*graph.input, *graph.output)}
    taken |= {name for node in walk_nodes(graph.node) for name in node.output if name}
    for inner in list(_inner_graphs(graph.node)):
        outputs = {info.name for info in inner.output}
        _store_constant_nodes(inner, outputs)
        lifted = [tensor for tensor in inner.initializer if tensor.name not in outputs]
        names: dict[str, str] = {}
        for tensor in lifted:
            name = tensor.name
            while name in taken:
                name += "_inner"
            taken.add(name)
            names[tensor.name] = name
        rename_tensors(inner, names)
        graph.initializer.extend(tensor for tensor in inner.initializer if tensor.name in names.values())
        _keep(inner.initializer, [tensor for tensor in inner.initializer if tensor.name not in names.values()])


def _store_constant_nodes(graph: onnx.GraphProto, outputs: set[str]) -> None:
    """Turn the Constant nodes that hold float weights into initializers, in place; exporters write both."""
    for node in [node for node in graph.node if node.op_type == "Constant" and node.output[0] not in outputs]:
        value = next((entry.t for entry in node.attribute if entry.name == "value"), None)
        if value is not None and value.data_type in _FLOATS and int(np.prod(value.dims)) >= _MANY_VALUES:
            tensor = graph.initializer.add()
            tensor.CopyFrom(value)
            tensor.name = node.output[0]
            graph.node.remove(node)


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


def relative_error(actual: Mapping[str, Array], expected: Mapping[str, Array]) -> float:
    """Return the largest difference of any output, relative to its largest value; infinity if shapes differ.

    NaN equals NaN, and infinity equals infinity of the same sign.
    """
    return max((_difference(actual[name], value) for name, value in expected.items()), default=0.0)


def _difference(actual: Array, expected: Array) -> float:
    if actual.shape != expected.shape:
        return float("inf")
    if expected.size == 0 or np.array_equal(actual, expected):
        return 0.0
    if not np.issubdtype(expected.dtype, np.number):
        return float("inf")
    finite = np.isfinite(expected)
    if not np.array_equal(actual[~finite], expected[~finite], equal_nan=expected.dtype.kind == "f"):
        return float("inf")
    scale = float(np.abs(expected[finite]).max(initial=0.0)) or 1.0
    gap = np.abs(actual[finite].astype(np.float64) - expected[finite].astype(np.float64)).max(initial=0.0)
    return float(np.nan_to_num(gap, nan=np.inf)) / scale


def _find_needed(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Return the nodes that outputs depend on, in graph order."""
    makers = {name: index for index, node in enumerate(graph.node) for name in node.output if name}
    needed: set[int] = set()
    pending = [info.name for info in graph.output]
    while pending:
        index = makers.get(pending.pop())
        if index is not None and index not in needed:
            needed.add(index)
            pending.extend(_reads(graph.node[index]))
    return [graph.node[index] for index in sorted(needed)]


def _reads(node: onnx.NodeProto) -> set[str]:
    """Return the names of the tensors that a node reads, including those that its subgraphs read or return."""
    given = {info.name for graph in subgraphs(node) for info in graph.output}
    return given.union(*(inner.input for inner in walk_nodes([node])))


def walk_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Yield the nodes and those of their subgraphs."""
    for node in nodes:
        yield node
        for graph in subgraphs(node):
            yield from walk_nodes(graph.node)


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """Yield the graphs inside a node, such as the branches of If."""
    for attribute in node.attribute:
        yield from attribute.graphs
        if attribute.HasField("g"):
            yield attribute.g


def _keep(field: Any, kept: list[Any]) -> None:  # noqa: ANN401 - protobuf's repeated fields have no common type
    copies = [type(item).FromString(item.SerializeToString()) for item in kept]
    del field[:]
    field.extend(copies)
