"""Prepares graphs for quantization: infers shapes, folds constants, fuses batch norms and gives nodes stable names."""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx
import onnxruntime as ort
from onnx import version_converter
from onnxruntime.quantization.shape_inference import quant_pre_process

from drupelet_host.errors import ExportError
from drupelet_host.onnx_files.graph import (
    first_line,
    first_output,
    load_model,
    open_session,
    quiet_tools,
    strip_unused,
)

# The first opset with per-channel scales in QuantizeLinear.
MIN_OPSET = 13
# The IR version that ONNX's checker requires for opset 13; before version 4, initializers are also inputs.
_MIN_IR_VERSION = 7


def prepare(source: Path) -> onnx.ModelProto:
    """Read a float model and bring it into the form that the quantizers need.

    Only ONNX Runtime's basic optimisations are applied, which are valid on every processor. They preserve the names of
    the remaining tensors, so that a node is named after its first output and names are reproducible.

    Raises:
        ExportError: The file is not an ONNX model, or its operators cannot be converted to opset 13.
    """
    model = load_model(source)
    _hide_constants(model)
    prepared = _optimise(raise_opset(model, name=source.name), name=source.name)
    _restore_signature(prepared, model)
    for node in prepared.graph.node:
        node.name = first_output(node)
    strip_unused(prepared)
    return prepared


def raise_opset(model: onnx.ModelProto, *, name: str) -> onnx.ModelProto:
    """Convert a model of an opset older than 13 to opset 13.

    Raises:
        ExportError: ONNX's converter fails.
    """
    opset = next((entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"}), MIN_OPSET)
    if opset >= MIN_OPSET:
        return model
    try:
        converted: onnx.ModelProto = version_converter.convert_version(model, MIN_OPSET)
    except Exception as error:  # the converter's exceptions share no base class
        raise ExportError(f"{name}: opset {opset} cannot be converted to {MIN_OPSET}: {first_line(error)}") from error
    return converted


def _hide_constants(model: onnx.ModelProto) -> None:
    """Remove initializers from the inputs: files of old IR versions list them there, so that they are not folded."""
    constants = {tensor.name for tensor in model.graph.initializer}
    for info in [info for info in model.graph.input if info.name in constants]:
        model.graph.input.remove(info)
    model.ir_version = max(model.ir_version, _MIN_IR_VERSION)


def _optimise(model: onnx.ModelProto, *, name: str) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory(prefix="drupelet-") as folder, quiet_tools():
        before, path = Path(folder) / "model.onnx", Path(folder) / "prepared.onnx"
        onnx.save(model, before)
        # The next tool returns its input unchanged when ONNX Runtime cannot load it.
        open_session(before, name=name, optimisation=ort.GraphOptimizationLevel.ORT_DISABLE_ALL)
        try:
            # Symbolic shape inference writes files to the working folder when it meets an unknown operator.
            quant_pre_process(before, path, skip_symbolic_shape=True)
        except Exception as error:  # the tool's exceptions share no base class
            raise ExportError(f"{name}: ONNX Runtime cannot optimise it: {first_line(error)}") from error
        return onnx.load(path)


def _restore_signature(model: onnx.ModelProto, original: onnx.ModelProto) -> None:
    """Restore the declared inputs and outputs: shape inference renames variable dimensions."""
    for field, declared in ((model.graph.input, original.graph.input), (model.graph.output, original.graph.output)):
        del field[:]
        field.extend(declared)
