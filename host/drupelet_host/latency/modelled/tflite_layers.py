"""Reads the layers of a LiteRT file for the latency table."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from drupelet_host.errors import ModelError
from drupelet_host.latency.modelled.layers import LayerKind, LayerShape, StoredPrecision

_KINDS: dict[str, LayerKind] = {
    "CONV_2D": "convolution",
    "DEPTHWISE_CONV_2D": "convolution",
    "TRANSPOSE_CONV": "convolution",
    "FULLY_CONNECTED": "linear",
    "BATCH_MATMUL": "linear",
    "MAX_POOL_2D": "max_pool",
    "AVERAGE_POOL_2D": "average_pool",
    "MEAN": "global_pool",
    "ADD": "add",
    "SUB": "add",
    "MUL": "multiply",
    "DIV": "multiply",
    "CONCATENATION": "concat",
    "RESIZE_NEAREST_NEIGHBOR": "upsample",
    "RESIZE_BILINEAR": "upsample",
    "LOGISTIC": "sigmoid",
    "HARD_SWISH": "hardswish",
}
_FREE = {"QUANTIZE", "DEQUANTIZE", "RESHAPE", "SHAPE", "SQUEEZE", "EXPAND_DIMS", "RELU", "RELU6", "CAST"}
# Graphs that run within operators, and what costs more than to read and write its values.
_UNKNOWN = {"IF", "WHILE", "CONV_3D", "CONV_3D_TRANSPOSE", "LSTM", "RNN", "SVDF"} | {
    f"{kind}_SEQUENCE_{cell}" for kind in ("UNIDIRECTIONAL", "BIDIRECTIONAL") for cell in ("LSTM", "RNN")
}
_IMAGE = 4


def read_tflite_layers(path: Path) -> tuple[LayerShape, ...]:
    """Return the layers of a file's first graph in order of execution.

    Raises:
        ModelError: The file is not a LiteRT model, leaves a size other than the batch open, or has an operator that the
            table does not know, such as LSTM.
    """
    # An optional engine; only this file format needs it.
    import ai_edge_litert.schema_py_generated as schema  # noqa: PLC0415

    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
    try:
        model: Any = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(path.read_bytes(), 0))
        graph = model.subgraphs[0]
        _check_inputs(graph)
        codes = [names.get(max(code.builtinCode, code.deprecatedBuiltinCode), "CUSTOM") for code in model.operatorCodes]
        _check_kinds({codes[operator.opcodeIndex] for operator in graph.operators})
        tensors = [_shape(tensor) for tensor in graph.tensors]
        return tuple(
            replace(
                _layer(codes[operator.opcodeIndex], operator, tensors, name=str(position)),
                stored=_stored(operator, graph.tensors, int8=schema.TensorType.INT8),
            )
            for position, operator in enumerate(graph.operators)
            if codes[operator.opcodeIndex] not in _FREE
        )
    except ModelError as error:
        raise ModelError(f"{path.name}: {error}") from error
    except Exception as error:  # flatbuffers reads malformed files with whatever error they lead to
        raise ModelError(f"{path.name}: not a LiteRT model: {error}") from error


def _check_kinds(kinds: Collection[str]) -> None:
    if unknown := sorted(_UNKNOWN.intersection(kinds)):
        raise ModelError(f"what {', '.join(unknown)} costs is not in the latency table")


def _check_inputs(graph: Any) -> None:  # noqa: ANN401 - the schema has no types
    """Check that no size of an input is open other than the batch: the file has 1 there, whatever it runs with."""
    for index in graph.inputs:
        tensor = graph.tensors[index]
        signature = [] if tensor.shapeSignature is None else [int(size) for size in tensor.shapeSignature]
        if any(size < 0 for size in signature[1:]):
            raise ModelError(
                f"input {tensor.name.decode()!r} of shape {signature} leaves sizes open on which the latency depends: "
                "convert the model with fixed ones"
            )


def _stored(operator: Any, tensors: Any, *, int8: int) -> StoredPrecision:  # noqa: ANN401 - the schema has no types
    if tensors[operator.outputs[0]].type == int8:
        return "int8"
    return "dynamic" if any(index >= 0 and tensors[index].type == int8 for index in operator.inputs) else "float32"


def _shape(tensor: Any) -> tuple[int, ...]:  # noqa: ANN401 - the schema has no types
    return () if tensor.shape is None else tuple(max(1, int(size)) for size in tensor.shape)


def _layer(code: str, operator: Any, tensors: list[tuple[int, ...]], *, name: str) -> LayerShape:  # noqa: ANN401 - as above
    kind = _KINDS.get(code, "other")
    inputs = [tensors[index] for index in operator.inputs if index >= 0]
    output = tensors[operator.outputs[0]]
    channels, pixels = _channels_and_pixels(inputs[0])
    out_channels, out_pixels = _channels_and_pixels(output)
    options = operator.builtinOptions
    window, groups = 1, 1
    if code == "DEPTHWISE_CONV_2D":
        window, groups = math.prod(inputs[1][1:3]), channels
    elif code == "TRANSPOSE_CONV":
        channels, pixels = _channels_and_pixels(inputs[2])
        window, out_pixels = math.prod(inputs[1][1:3]), pixels
    elif code == "CONV_2D":
        window, groups = math.prod(inputs[1][1:3]), max(1, channels // inputs[1][3])
    elif kind == "linear":
        channels, pixels, out_pixels = inputs[1][-1], 1, max(1, math.prod(output[:-1]))
    elif kind in {"max_pool", "average_pool"}:
        window = options.filterHeight * options.filterWidth
    elif kind == "global_pool":
        window = pixels // (inputs[0][0] if len(inputs[0]) == _IMAGE else 1)
    elif kind == "concat":
        channels = sum(_channels_and_pixels(shape)[0] for shape in inputs)
    return LayerShape(
        kind=kind,
        in_channels=channels,
        out_channels=out_channels,
        in_pixels=pixels,
        out_pixels=out_pixels,
        window=window,
        stride=max(getattr(options, "strideH", 1), 1),
        groups=groups,
        is_exported=True,
        name=f"{code.lower()}_{name}",
    )


def _channels_and_pixels(shape: tuple[int, ...]) -> tuple[int, int]:
    if len(shape) == _IMAGE:
        return shape[3], shape[0] * shape[1] * shape[2]
    return (shape[-1], math.prod(shape[:-1])) if shape else (1, 1)
