"""A static int8 LiteRT file made by hand from the format's own schema, so that its test needs no converter."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import ai_edge_litert.schema_py_generated as schema
import flatbuffers
import numpy as np

from drupelet_shared.engines.base import Array

_SIZE, _INPUTS, _OUTPUTS = 16, 8, 16
_TYPES = {"float32": schema.TensorType.FLOAT32, "int8": schema.TensorType.INT8, "int32": schema.TensorType.INT32}
# The ranges of the activations, wide enough for standard noise and narrow enough that some of it is clipped.
_INPUT_SCALE, _OUTPUT_SCALE = 4 / 128, 16 / 128
_OUTPUT_ZERO_POINT = -3

INPUT_SHAPE = (1, _SIZE, _SIZE, _INPUTS)


@dataclass(frozen=True)
class _Tensor:
    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: Array | None = None
    zero_point: int = 0
    axis: int = 0
    values: Array | None = None


def write_int8_convolution(path: Path, *, int8_ends: bool = False) -> Path:
    """`input` FP32 (1, 16, 16, 8) to `output` FP32 (1, 16, 16, 16): quantize, a 3 x 3 convolution in int8, dequantize.

    The weights have a scale for each output channel, as static int8 variants have. With `int8_ends` the convolution is
    all: `input_int8` INT8 to `output_int8` INT8.
    """
    generator = np.random.default_rng(11)
    weights = generator.integers(-127, 128, (_OUTPUTS, 3, 3, _INPUTS)).astype(np.int8)
    scales = generator.uniform(0.0005, 0.004, _OUTPUTS).astype(np.float32)
    bias = generator.integers(-5000, 5000, _OUTPUTS).astype(np.int32)
    output_shape = (1, _SIZE, _SIZE, _OUTPUTS)
    input_scale, output_scale = (np.array([scale], np.float32) for scale in (_INPUT_SCALE, _OUTPUT_SCALE))
    tensors = [
        _Tensor("input", INPUT_SHAPE, "float32"),
        _Tensor("input_int8", INPUT_SHAPE, "int8", input_scale),
        _Tensor("weights", weights.shape, "int8", scales, values=weights),
        _Tensor("bias", bias.shape, "int32", scales * np.float32(_INPUT_SCALE), values=bias),
        _Tensor("output_int8", output_shape, "int8", output_scale, _OUTPUT_ZERO_POINT),
        _Tensor("output", output_shape, "float32"),
    ]
    codes = (schema.BuiltinOperator.QUANTIZE, schema.BuiltinOperator.CONV_2D, schema.BuiltinOperator.DEQUANTIZE)
    operators = [_operator(code, *ends) for code, ends in enumerate((([0], [1]), ([1, 2, 3], [4]), ([4], [5])))]
    convolution = schema.Conv2DOptionsT()
    convolution.strideH = convolution.strideW = convolution.dilationHFactor = convolution.dilationWFactor = 1
    operators[1].builtinOptionsType, operators[1].builtinOptions = schema.BuiltinOptions.Conv2DOptions, convolution
    if int8_ends:
        _write(path, tensors, operators[1:2], [_code(code) for code in codes], ends=(1, 4))
    else:
        _write(path, tensors, operators, [_code(code) for code in codes], ends=(0, 5))
    return path


def _write(
    path: Path,
    tensors: list[_Tensor],
    operators: list[schema.OperatorT],
    codes: list[schema.OperatorCodeT],
    *,
    ends: tuple[int, int],
) -> None:
    graph = schema.SubGraphT()
    graph.tensors = [_tensor(tensor, buffer=index + 1) for index, tensor in enumerate(tensors)]
    graph.inputs, graph.outputs, graph.operators = [ends[0]], [ends[1]], operators
    model = schema.ModelT()
    model.version, model.subgraphs, model.operatorCodes = 3, [graph], codes
    # Buffer 0 is the empty one.
    model.buffers = [schema.BufferT(), *(_buffer(tensor.values) for tensor in tensors)]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))


def _buffer(values: Array | None) -> schema.BufferT:
    buffer = schema.BufferT()
    if values is not None:
        buffer.data = np.frombuffer(values.tobytes(), np.uint8)
    return buffer


def _tensor(tensor: _Tensor, *, buffer: int) -> schema.TensorT:
    made = schema.TensorT()
    made.name, made.shape, made.buffer = tensor.name.encode(), list(tensor.shape), buffer
    made.type = _TYPES[tensor.dtype]
    if tensor.scale is not None:
        made.quantization = schema.QuantizationParametersT()
        made.quantization.scale = tensor.scale.tolist()
        made.quantization.zeroPoint = [tensor.zero_point] * len(tensor.scale)
        made.quantization.quantizedDimension = tensor.axis
    return made


def _operator(code: int, inputs: list[int], outputs: list[int]) -> schema.OperatorT:
    made = schema.OperatorT()
    made.opcodeIndex, made.inputs, made.outputs = code, inputs, outputs
    return made


def _code(code: int) -> schema.OperatorCodeT:
    made = schema.OperatorCodeT()
    made.builtinCode = made.deprecatedBuiltinCode = code
    # The version of each operator that knows int8 with a scale for each channel.
    made.version = 3 if code == schema.BuiltinOperator.CONV_2D else 2
    return made
