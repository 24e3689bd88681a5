"""Whether an ONNX file is one that can be compiled: weights that are numbers, answers that are the same each time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from drupelet_host.data.samples import Tensors
from drupelet_host.errors import DataError, ExportError, ModelError
from drupelet_host.onnx_files.graph import (
    Array,
    copy_model,
    first_output,
    load_model,
    open_session,
    read_constants,
    relative_error,
    walk_nodes,
)
from drupelet_host.onnx_files.running import run_samples
from drupelet_shared.tensors import MAX_RANK

_FLOATS = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16})
# What multiplies or normalises: infinity is no weight. Elsewhere, as in a mask that is added, it has a meaning.
_WEIGHTED = frozenset(
    {
        *("BatchNormalization", "Conv", "ConvTranspose", "GRU", "Gather", "Gemm", "GroupNormalization"),
        *("InstanceNormalization", "LSTM", "LayerNormalization", "MatMul", "PRelu", "RNN"),
    }
)
_RANDOM = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)
_MAX_NAME = 256
# Threads may add in another order; what draws random numbers differs by far more.
_SAME = 1e-4


def check_interface(path: Path) -> None:
    """Check that a device can be asked: inputs and outputs of numbers whose names and ranks the protocol holds.

    Raises:
        ModelError: They are not; the message lists all that is wrong.
    """
    graph = load_model(path).graph
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [info for info in graph.input if info.name not in constants]
    faults = [] if inputs else ["it takes no inputs: a model that always answers the same needs no device"]
    for kind, infos in (("input", inputs), ("output", list(graph.output))):
        faults.extend(f"{kind} {info.name[:40]!r} {fault}" for info in infos for fault in _find_faults(kind, info))
    if faults:
        raise ModelError("\n  - ".join([f"{path.name}: a device cannot be asked for it:", *faults]))


def _find_faults(kind: str, info: onnx.ValueInfoProto) -> Iterator[str]:
    if len(info.name) > _MAX_NAME:
        yield f"... has a name of {len(info.name)} characters: the protocol takes {_MAX_NAME}; rename it"
    if not info.type.HasField("tensor_type"):
        return
    tensor = info.type.tensor_type
    if tensor.elem_type == TensorProto.STRING:
        advice = (
            "turn text into numbers before it is sent and let the file begin behind the tokenizer"
            if kind == "input"
            else "let the file end with the class index; model.labels of the recipe turns it into text"
        )
        yield f"holds text, which no variant could be compiled for: {advice}"
    if kind == "input" and not tensor.HasField("shape"):
        yield "has no shape: declare its dimensions, variable ones by name, as onnx.tools.update_model_dims does"
    if len(tensor.shape.dim) > MAX_RANK:
        yield f"has {len(tensor.shape.dim)} dimensions: the protocol takes {MAX_RANK}; let the file reshape it"


def check_weights(path: Path) -> None:
    """Check that every weight is a finite number.

    Raises:
        ModelError: A tensor holds NaN, or a weight of a layer holds infinity; the message names the first.
    """
    model = load_model(path)
    weights = {name for node in walk_nodes(model.graph.node) if node.op_type in _WEIGHTED for name in node.input}
    for name, tensor in _list_constants(model):
        if tensor.data_type not in _FLOATS:
            continue
        values = numpy_helper.to_array(tensor).astype(np.float64)
        wrong = ~np.isfinite(values) if name in weights else np.isnan(values)
        if wrong.any():
            what = "NaN" if np.isnan(values).any() else "infinity"
            raise ModelError(
                f"{path.name}: tensor {name!r} of shape {list(values.shape)} holds {what} at {int(wrong.sum())} of "
                f"{values.size} values: export the model again from a checkpoint whose training did not diverge"
            )


def check_repeats(path: Path, sample: Tensors) -> None:
    """Check that the model gives the same answers to the same inputs.

    Args:
        path: The model's file.
        sample: The inputs of one inference.

    Raises:
        ModelError: It does not; the message names the node that differs first.
    """
    model = load_model(path)
    level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        first, second = run_samples(model, [sample, sample], optimisation=level)
        if relative_error(first, second) <= _SAME:
            return
        node = _find_random(model, sample)
    except (DataError, ExportError):  # a model that cannot run is reported when it is measured
        return
    raise ModelError(
        f"{path.name}: gives other answers to the same inputs each time: node {first_output(node)!r} "
        f"({node.op_type}) draws random numbers; export the model in evaluation mode, or with the noise as an input"
    )


def _list_constants(model: onnx.ModelProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    yield from read_constants(model.graph).items()
    for node in walk_nodes(model.graph.node):
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.HasField("t"):
                yield node.output[0], attribute.t
            for graph in (attribute.g, *attribute.graphs):
                yield from read_constants(graph).items()


def _find_random(model: onnx.ModelProto, sample: Tensors) -> onnx.NodeProto:
    """Return the first node whose answers differ between two runs, or one that is known to draw."""
    known = next((node for node in walk_nodes(model.graph.node) if node.op_type in _RANDOM), None)
    if known is not None:
        return known
    first, second = (_run_all(model, sample) for _ in range(2))
    nodes: list[onnx.NodeProto] = list(model.graph.node)
    for node in nodes:
        names = [name for name in node.output if name in first]
        if names and relative_error(_pick(first, names), _pick(second, names)) > _SAME:
            return node
    return nodes[-1]


def _pick(tensors: Mapping[str, Array], names: Sequence[str]) -> dict[str, Array]:
    return {name: tensors[name] for name in names}


def _run_all(model: onnx.ModelProto, sample: Tensors) -> dict[str, Array]:
    """Return every tensor that the outer graph computes, where ONNX Runtime can give them all out."""
    names = [name for node in model.graph.node for name in node.output if name]
    given = {info.name for info in model.graph.output}
    observed = copy_model(model)
    observed.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names if name not in given)
    session = open_session(observed, optimisation=ort.GraphOptimizationLevel.ORT_DISABLE_ALL)
    outputs = [output.name for output in session.get_outputs()]
    return dict(zip(outputs, session.run(outputs, dict(sample)), strict=True))
