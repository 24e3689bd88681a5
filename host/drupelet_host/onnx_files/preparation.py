"""Prepares graphs for quantization: infers shapes, folds constants, fuses batch norms and gives nodes stable names."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

import onnx
import onnxruntime as ort
from onnx import version_converter

from drupelet_host.errors import ExportError
from drupelet_host.onnx_files.folding import undo_large_folds
from drupelet_host.onnx_files.graph import (
    first_line,
    first_output,
    has_subgraphs,
    lift_inner_constants,
    load_model,
    open_session,
    sort_nodes,
    strip_unused,
    write_optimised,
)
from drupelet_host.onnx_files.naming import avoid_collisions
from drupelet_host.onnx_files.rewriting import split_matrix_biases, store_dense

log = logging.getLogger(__name__)

# The first opset with per-channel scales in QuantizeLinear.
MIN_OPSET = 13
# The newest operator set that the oldest engine a package may ask for supports; see `engine_versions`.
MAX_OPSET = 21
# Before it Resize, like Upsample, had one mapping of coordinates: https://onnx.ai/onnx/operators/onnx__Resize.html
_RESIZE_OPSET = 11
_RESIZE_ATTRIBUTES = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
# The IR version that ONNX's checker requires for opset 13; before version 4, initializers are also inputs.
_MIN_IR_VERSION = 7
_MOST_GROWTH = 1.02


def prepare(source: Path, *, for_quantizer: bool = True) -> onnx.ModelProto:
    """Read a float model and bring it into the form that the quantizers need.

    Only ONNX Runtime's basic optimisations are applied, which are valid on every processor. They preserve the names of
    the remaining tensors, so that a node is named after its first output and names are reproducible.

    Args:
        source: The model's file.
        for_quantizer: Whether its weights will be stored in a quarter of the bytes; see `undo_large_folds`.

    Raises:
        ExportError: The file is not an ONNX model, or its operators cannot be converted to opset 13.
    """
    model = load_model(source)
    _hide_constants(model)
    store_dense(model.graph)
    lift_inner_constants(model.graph)
    sort_nodes(model.graph)
    avoid_collisions(model)
    prepared = _optimise(convert_opset(model, name=source.name), name=source.name, for_quantizer=for_quantizer)
    _restore_signature(prepared, model)
    split_matrix_biases(prepared.graph)
    for node in prepared.graph.node:
        node.name = first_output(node)
    strip_unused(prepared)
    return prepared


def convert_opset(model: onnx.ModelProto, *, name: str) -> onnx.ModelProto:
    """Convert a model of an opset older than 13 to opset 13, and one newer than 21 to 21 where its operators allow it.

    Raises:
        ExportError: ONNX's converter fails.
    """
    opset = next((entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"}), MIN_OPSET)
    if opset > MAX_OPSET:
        return _lower_opset(model)
    if opset >= MIN_OPSET:
        return model
    try:
        converted: onnx.ModelProto = version_converter.convert_version(model, MIN_OPSET)
    except Exception as error:  # the converter's exceptions share no base class
        raise ExportError(f"{name}: opset {opset} cannot be converted to {MIN_OPSET}: {first_line(error)}") from error
    if opset < _RESIZE_OPSET:
        _keep_old_resizing(converted)
    return converted


def _lower_opset(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model for older engines, or as it is where an operator has no older form."""
    try:
        lowered: onnx.ModelProto = version_converter.convert_version(model, MAX_OPSET)
        open_session(lowered, optimisation=ort.GraphOptimizationLevel.ORT_DISABLE_ALL)
    except Exception:  # the converter's exceptions share no base class
        log.debug("the operator set cannot be lowered", exc_info=True)
        return model
    return lowered


def _keep_old_resizing(model: onnx.ModelProto) -> None:
    """Let Resize compute what Upsample and the first Resize did; the converter leaves it the newer defaults."""
    for node in model.graph.node:
        if node.op_type != "Resize":
            continue
        stated = [entry for entry in node.attribute if entry.name not in _RESIZE_ATTRIBUTES]
        del node.attribute[:]
        node.attribute.extend(stated)
        node.attribute.extend(onnx.helper.make_attribute(key, value) for key, value in _RESIZE_ATTRIBUTES.items())


def _hide_constants(model: onnx.ModelProto) -> None:
    """Remove initializers from the inputs: files of old IR versions list them there, so that they are not folded."""
    constants = {tensor.name for tensor in model.graph.initializer}
    for info in [info for info in model.graph.input if info.name in constants]:
        model.graph.input.remove(info)
    model.ir_version = max(model.ir_version, _MIN_IR_VERSION)


def _optimise(model: onnx.ModelProto, *, name: str, for_quantizer: bool) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory(prefix="drupelet-") as folder:
        before, path = Path(folder) / "model.onnx", Path(folder) / "prepared.onnx"
        onnx.save(model, before)
        # Says what is wrong with a file that no optimisation has touched.
        open_session(before, name=name, optimisation=ort.GraphOptimizationLevel.ORT_DISABLE_ALL)
        write_optimised(before, path, name=name)
        optimised = onnx.load(path)
        undo_large_folds(optimised, model, may_repeat=for_quantizer)
        if has_subgraphs(model) and optimised.ByteSize() > model.ByteSize() * _MOST_GROWTH:
            # Each branch and body folded a copy of its own.
            write_optimised(before, path, name=name, fold=False)
            optimised = onnx.load(path)
    # Folding leaves its results where they are read.
    lift_inner_constants(optimised.graph)
    try:
        inferred: onnx.ModelProto = onnx.shape_inference.infer_shapes(optimised)
    except Exception as error:  # the library's exceptions share no base class
        raise ExportError(f"{name}: its shapes cannot be inferred: {first_line(error)}") from error
    _drop_wrong_shapes(inferred)
    return inferred


def _drop_wrong_shapes(model: onnx.ModelProto) -> None:
    """Keep only the types of tensors where ONNX infers other shapes than ONNX Runtime, as for STFT; in place."""
    try:
        open_session(model, optimisation=ort.GraphOptimizationLevel.ORT_DISABLE_ALL)
    except ExportError:
        for info in model.graph.value_info:
            info.type.tensor_type.ClearField("shape")


def _restore_signature(model: onnx.ModelProto, original: onnx.ModelProto) -> None:
    """Restore the declared inputs and outputs: shape inference renames variable dimensions."""
    for field, declared in ((model.graph.input, original.graph.input), (model.graph.output, original.graph.output)):
        del field[:]
        field.extend(declared)
