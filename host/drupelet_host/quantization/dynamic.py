"""Dynamic int8: int8 weights, and activations quantized at run time, so that no calibration is needed."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from onnxruntime.quantization import QuantType
from onnxruntime.quantization import quantize_dynamic as ort_quantize_dynamic

from drupelet_host.errors import ExportError
from drupelet_host.onnx_files.canonical import write_canonical
from drupelet_host.onnx_files.graph import (
    first_line,
    open_session,
    quiet_tools,
    read_constants,
    strip_unused,
    walk_nodes,
)
from drupelet_host.onnx_files.preparation import prepare
from drupelet_host.quantization.inner_weights import add_dequantized, store_inner_weights
from drupelet_host.quantization.unquantizable import find_by_trying

log = logging.getLogger(__name__)

# Operators with integer kernels in ONNX Runtime (Gemm as a matrix product), and embeddings, looked up in int8.
_OPS = ("Attention", "EmbedLayerNormalization", "Gather", "LSTM", "MatMul")
_CONVOLUTION = "Conv"
# Operators without an integer kernel: weights are stored as int8 and converted to float in each inference.
_WEIGHT_ONLY = frozenset({"GRU", "RNN"})
_RECURRENT_WEIGHTS = (1, 2)
_CHANNEL_AXIS = 1
_MATRIX_RANK = 2


def quantize_dynamic(source: Path, path: Path, *, convolutions: bool = False) -> None:
    """Write a float model with int8 weights; activations are quantized in each inference, by their range then.

    Weights of MatMul, Gemm, LSTM and attention have a scale for each output channel. Weights of GRU are only stored as
    int8, since ONNX Runtime has no integer kernel for GRU. The same file gives the same bytes.

    Args:
        source: The float model.
        path: The file to write; the inputs and outputs of the quantized model stay float.
        convolutions: Whether Conv becomes integer too, with one scale for all channels. ONNX Runtime's ConvInteger is
            slower than its float convolution on most processors, so this is for size, and for comparing.

    Raises:
        ExportError: The model cannot be quantized, or has nothing to quantize.
    """
    model = prepare(source)
    operators = [*_OPS, *([_CONVOLUTION] if convolutions else [])]
    float_size = _count_float_values(model)
    # Some of its releases transpose weights and leave the shapes that are noted of them.
    del model.graph.value_info[:]
    quantized = _quantize_sound(model, operators, name=source.name)
    _store_recurrent_weights(quantized)
    store_inner_weights(quantized)
    if _count_float_values(quantized) >= float_size:
        present = ", ".join(sorted({node.op_type for node in model.graph.node}))
        expected = ", ".join(sorted({*operators, "Gemm", *_WEIGHT_ONLY}))
        raise ExportError(
            f"{source.name}: dynamic int8 has nothing to quantize: found {present}: expected one of {expected}, "
            "with constant weights"
        )
    strip_unused(quantized)
    del quantized.graph.value_info[:]
    write_canonical(quantized, path)


def _quantize_sound(model: onnx.ModelProto, operators: Sequence[str], *, name: str) -> onnx.ModelProto:
    """Quantize every node that can be; one that makes a model that does not load stays in float."""
    quantizable = {*operators, "Gemm"}
    names = [node.name for node in model.graph.node if node.op_type in quantizable]
    constants = read_constants(model.graph)
    # Integer kernels take matrices.
    deep = {
        node.name
        for node in model.graph.node
        if node.op_type == "MatMul"
        and any(item in constants and len(constants[item].dims) > _MATRIX_RANK for item in node.input)
    }
    candidates = [node for node in names if node not in deep]
    latest: dict[frozenset[str], onnx.ModelProto] = {}

    def attempt(nodes: frozenset[str]) -> str | None:
        latest.clear()
        try:
            quantized = _quantize(model, operators, excluded=set(names) - nodes, name=name)
            open_session(quantized, name="the int8 model")
        except ExportError as error:
            return str(error)
        latest[nodes] = quantized
        return None

    unsound = find_by_trying(candidates, attempt) if candidates else {}
    for node, reason in unsound.items():
        log.debug("a node stays in float node=%s reason=%s", node, reason)
    sound = frozenset(node for node in candidates if node not in unsound)
    return latest.get(sound) or _quantize(model, operators, excluded=set(names) - sound, name=name)


def _quantize(model: onnx.ModelProto, operators: Sequence[str], *, excluded: set[str], name: str) -> onnx.ModelProto:
    # The quantizer makes a product of each Gemm, under another name.
    out = [*excluded, *(f"{node}_MatMul" for node in excluded)]
    with tempfile.TemporaryDirectory(prefix="drupelet-") as folder, quiet_tools():
        prepared, raw = Path(folder) / "prepared.onnx", Path(folder) / "raw.onnx"
        onnx.save(model, prepared)
        try:
            ort_quantize_dynamic(
                prepared,
                raw,
                op_types_to_quantize=list(operators),
                per_channel=True,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=out,
            )
            quantized: onnx.ModelProto = onnx.load(raw)
        except Exception as error:  # the quantizer's exceptions share no base class
            raise ExportError(f"{name}: dynamic int8 quantization failed: {first_line(error)}") from error
    return quantized


def _store_recurrent_weights(model: onnx.ModelProto) -> None:
    """Weights of (directions, gates * hidden, inputs) as int8, a scale for each gate's row."""
    constants = read_constants(model.graph)
    done: set[str] = set()
    for node in [node for node in model.graph.node if node.op_type in _WEIGHT_ONLY]:
        for index in _RECURRENT_WEIGHTS:
            name = node.input[index]
            if name not in constants:
                continue
            node.input[index] = f"{name}_dequantized"
            if name not in done:
                done.add(name)
                add_dequantized(model.graph, name, numpy_helper.to_array(constants[name]), axis=_CHANNEL_AXIS)


def _count_float_values(model: onnx.ModelProto) -> int:
    used = {name for node in walk_nodes(model.graph.node) for name in node.input}
    return sum(
        int(np.prod(tensor.dims, dtype=np.int64))
        for tensor in model.graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT and tensor.name in used
    )
