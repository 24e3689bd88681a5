"""LiteRT files made by hand from the format's own schema, so that the adapter's tests need no converter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import ai_edge_litert.schema_py_generated as schema
import flatbuffers
import numpy as np

from drupelet_shared.engines.base import Array

_TENSOR_TYPES = {"float32": schema.TensorType.FLOAT32, "int32": schema.TensorType.INT32}


@dataclass(frozen=True)
class Tensor:
    """A tensor: a constant if it has values; -1 in the shape is a variable dimension."""

    name: str
    shape: tuple[int, ...]
    values: Array | None = None
    dtype: str = "float32"


@dataclass(frozen=True)
class Operator:
    """One operator over tensors by name."""

    code: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    options_type: int = schema.BuiltinOptions.NONE
    options: object = None


def write_linear_tflite(path: Path, weights: Array, *, signature: bool = True, output: str = "scores") -> Path:
    """`image` FP32 (1, 1, 8, 8) to `output` FP32 (1, 10): the flat image times the weights."""
    inputs, outputs = weights.shape
    operators = [
        Operator(schema.BuiltinOperator.RESHAPE, ("image", "flat_shape"), ("flat",)),
        Operator(
            schema.BuiltinOperator.FULLY_CONNECTED,
            ("flat", "weights"),
            (output,),
            schema.BuiltinOptions.FullyConnectedOptions,
            schema.FullyConnectedOptionsT(),
        ),
    ]
    tensors = [
        Tensor("image", (1, 1, 8, 8)),
        Tensor("flat_shape", (2,), np.array([1, inputs], np.int32)),
        Tensor("flat", (1, inputs)),
        Tensor("weights", (outputs, inputs), np.ascontiguousarray(weights.T)),
        Tensor(output, (1, outputs)),
    ]
    return _write(path, tensors, operators, inputs=["image"], outputs=[output], signatures=int(signature))


def write_add_tflite(path: Path, *, shape: tuple[int, ...] = (1, 1), value: float = 1.0, signatures: int = 1) -> Path:
    """`output = input + value`; a shape with -1 takes any size there."""
    add = Operator(
        schema.BuiltinOperator.ADD,
        ("input", "value"),
        ("output",),
        schema.BuiltinOptions.AddOptions,
        schema.AddOptionsT(),
    )
    tensors = [
        Tensor("input", shape),
        Tensor("value", (1,), np.array([value], np.float32)),
        Tensor("output", shape),
    ]
    return _write(path, tensors, [add], inputs=["input"], outputs=["output"], signatures=signatures)


def write_convolution_tflite(
    path: Path,
    weights: Array,
    *,
    size: tuple[int, int],
    strides: tuple[int, int],
    padding: Sequence[tuple[int, int]] | str,
    pool: tuple[int, float] | None = None,
    activation: str = "RELU",
) -> Path:
    """`image` FP32 (1, height, width, channels) to `output`: a convolution, and a padded maximum over 3 x 3 after it.

    Args:
        path: The file.
        weights: (output channels, rows, columns, input channels).
        size: The image's height and width.
        strides: Down and to the right.
        padding: "SAME", "VALID", or rows and columns that an operator of its own adds: ((above, below), (left, right)).
        pool: How much is padded on each side before the maximum, and with what.
        activation: What is fused into the convolution.
    """
    code, options = schema.BuiltinOperator, schema.BuiltinOptions
    count, rows, columns, channels = weights.shape
    around = ((0, 0), (0, 0)) if isinstance(padding, str) else tuple(padding)
    height, width = (length + sum(sides) for length, sides in zip(size, around, strict=True))
    convolution = schema.Conv2DOptionsT()
    convolution.strideH, convolution.strideW = strides
    convolution.padding = schema.Padding.SAME if padding == "SAME" else schema.Padding.VALID
    convolution.fusedActivationFunction = getattr(schema.ActivationFunctionType, activation)
    kept = (0, 0) if padding == "SAME" else (rows - 1, columns - 1)
    out = tuple(-(-(length - less) // step) for length, less, step in zip((height, width), kept, strides, strict=True))
    tensors = [
        Tensor("image", (1, *size, channels)),
        Tensor("weights", weights.shape, weights),
        Tensor("bias", (count,), np.linspace(-1, 1, count, dtype=np.float32)),
        Tensor("convolved", (1, *out, count)),
    ]
    operators, source, last = [], "image", "convolved"
    if not isinstance(padding, str):
        tensors += [
            Tensor("around", (4, 2), np.array([(0, 0), *around, (0, 0)], np.int32)),
            Tensor("padded", (1, height, width, channels)),
        ]
        operators.append(Operator(code.PAD, ("image", "around"), ("padded",), options.PadOptions, schema.PadOptionsT()))
        source = "padded"
    inputs = (source, "weights", "bias")
    operators.append(Operator(code.CONV_2D, inputs, ("convolved",), options.Conv2DOptions, convolution))
    if pool is not None:
        sides, fill = pool
        window = schema.Pool2DOptionsT()
        window.filterHeight = window.filterWidth = 3
        window.strideH = window.strideW = 1
        window.padding = schema.Padding.VALID
        wide = tuple(length + 2 * sides for length in out)
        both = ((sides, sides), (sides, sides))
        # Converters write constants that are equal once.
        sides_name = "around" if around == both else "sides"
        if sides_name == "sides":
            tensors.append(Tensor("sides", (4, 2), np.array([(0, 0), *both, (0, 0)], np.int32)))
        tensors += [
            Tensor("fill", (), np.array(fill, np.float32)),
            Tensor("wide", (1, *wide, count)),
            Tensor("largest", (1, wide[0] - 2, wide[1] - 2, count)),
        ]
        fills = ("convolved", sides_name, "fill")
        operators += [
            Operator(code.PADV2, fills, ("wide",), options.PadV2Options, schema.PadV2OptionsT()),
            Operator(code.MAX_POOL_2D, ("wide",), ("largest",), options.Pool2DOptions, window),
        ]
        last = "largest"
    return _write(path, tensors, operators, inputs=["image"], outputs=[last], signatures=1)


def write_expanding_tflite(path: Path, *, count: int) -> Path:
    """A small file that needs `count` float32 values while it runs: `output = max(exp(expand(input)))`."""
    operators = [
        Operator(schema.BuiltinOperator.BROADCAST_TO, ("input", "shape"), ("wide",)),
        Operator(
            schema.BuiltinOperator.EXP, ("wide",), ("raised",), schema.BuiltinOptions.ExpOptions, schema.ExpOptionsT()
        ),
        Operator(
            schema.BuiltinOperator.REDUCE_MAX,
            ("raised", "axes"),
            ("output",),
            schema.BuiltinOptions.ReducerOptions,
            _keeping_dimensions(),
        ),
    ]
    tensors = [
        Tensor("input", (1, 1)),
        Tensor("shape", (2,), np.array([count, 1], np.int32)),
        Tensor("wide", (count, 1)),
        Tensor("raised", (count, 1)),
        Tensor("axes", (2,), np.array([0, 1], np.int32)),
        Tensor("output", (1, 1)),
    ]
    return _write(path, tensors, operators, inputs=["input"], outputs=["output"], signatures=1)


def write_greedy_tflite(path: Path, weights: Array) -> Path:
    """The linear classifier, but an inference allocates 4 bytes times a million times the image's brightest pixel."""
    inputs, outputs = weights.shape
    code, options = schema.BuiltinOperator, schema.BuiltinOptions
    operators = [
        Operator(code.RESHAPE, ("image", "flat_shape"), ("flat",)),
        Operator(
            code.FULLY_CONNECTED,
            ("flat", "weights"),
            ("linear",),
            options.FullyConnectedOptions,
            schema.FullyConnectedOptionsT(),
        ),
        Operator(code.REDUCE_MAX, ("flat", "second"), ("brightest",), options.ReducerOptions, schema.ReducerOptionsT()),
        Operator(code.MUL, ("brightest", "million"), ("count",), options.MulOptions, schema.MulOptionsT()),
        Operator(code.CAST, ("count",), ("shape",), options.CastOptions, schema.CastOptionsT()),
        Operator(code.FILL, ("shape", "zero"), ("wide",), options.FillOptions, schema.FillOptionsT()),
        Operator(code.EXP, ("wide",), ("raised",), options.ExpOptions, schema.ExpOptionsT()),
        Operator(code.REDUCE_MAX, ("raised", "first"), ("one",), options.ReducerOptions, _keeping_dimensions()),
        Operator(code.MUL, ("linear", "one"), ("scores",), options.MulOptions, schema.MulOptionsT()),
    ]
    tensors = [
        Tensor("image", (1, 1, 8, 8)),
        Tensor("flat_shape", (2,), np.array([1, inputs], np.int32)),
        Tensor("flat", (1, inputs)),
        Tensor("weights", (outputs, inputs), np.ascontiguousarray(weights.T)),
        Tensor("linear", (1, outputs)),
        Tensor("first", (1,), np.array([0], np.int32)),
        Tensor("second", (1,), np.array([1], np.int32)),
        Tensor("brightest", (1,)),
        Tensor("million", (1,), np.array([1e6], np.float32)),
        Tensor("count", (1,)),
        Tensor("shape", (1,), dtype="int32"),
        Tensor("zero", (), np.array(0, np.float32)),
        Tensor("wide", (-1,)),
        Tensor("raised", (-1,)),
        Tensor("one", (1,)),
        Tensor("scores", (1, outputs)),
    ]
    return _write(path, tensors, operators, inputs=["image"], outputs=["scores"], signatures=1)


def _keeping_dimensions() -> schema.ReducerOptionsT:
    options = schema.ReducerOptionsT()
    options.keepDims = True
    return options


def _write(
    path: Path,
    tensors: Sequence[Tensor],
    operators: Sequence[Operator],
    *,
    inputs: Sequence[str],
    outputs: Sequence[str],
    signatures: int,
) -> Path:
    indices = {tensor.name: index for index, tensor in enumerate(tensors)}
    model = schema.ModelT()
    model.version = 3
    # Buffer 0 is the empty one that tensors without values share.
    model.buffers = [schema.BufferT(), *(_buffer(tensor) for tensor in tensors)]
    model.operatorCodes = [_operator_code(operator.code) for operator in operators]
    graph = schema.SubGraphT()
    graph.tensors = [_tensor(tensor, buffer=index + 1) for index, tensor in enumerate(tensors)]
    graph.inputs = [indices[name] for name in inputs]
    graph.outputs = [indices[name] for name in outputs]
    graph.operators = [_operator(operator, indices, code=code) for code, operator in enumerate(operators)]
    model.subgraphs = [graph]
    model.signatureDefs = [_signature(number, indices, inputs, outputs) for number in range(signatures)]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path


def _buffer(tensor: Tensor) -> schema.BufferT:
    buffer = schema.BufferT()
    if tensor.values is not None:
        buffer.data = np.frombuffer(tensor.values.tobytes(), np.uint8)
    return buffer


def _tensor(tensor: Tensor, *, buffer: int) -> schema.TensorT:
    made = schema.TensorT()
    made.name = tensor.name.encode()
    made.shape = [abs(size) for size in tensor.shape]
    made.shapeSignature = list(tensor.shape)
    made.type = _TENSOR_TYPES[tensor.dtype if tensor.values is None else str(tensor.values.dtype)]
    made.buffer = buffer
    return made


def _operator_code(code: int) -> schema.OperatorCodeT:
    made = schema.OperatorCodeT()
    made.builtinCode = code
    # Readers from before code 127 look here; a code that does not fit says so.
    made.deprecatedBuiltinCode = min(code, 127)
    made.version = 2 if code == schema.BuiltinOperator.BROADCAST_TO else 1
    return made


def _operator(operator: Operator, indices: Mapping[str, int], *, code: int) -> schema.OperatorT:
    made = schema.OperatorT()
    made.opcodeIndex = code
    made.inputs = [indices[name] for name in operator.inputs]
    made.outputs = [indices[name] for name in operator.outputs]
    made.builtinOptionsType, made.builtinOptions = operator.options_type, operator.options
    return made


def _signature(
    number: int, indices: Mapping[str, int], inputs: Sequence[str], outputs: Sequence[str]
) -> schema.SignatureDefT:
    made = schema.SignatureDefT()
    made.signatureKey = f"signature_{number}".encode()
    made.subgraphIndex = 0
    made.inputs = [_mapped(name, indices) for name in inputs]
    made.outputs = [_mapped(name, indices) for name in outputs]
    return made


def _mapped(name: str, indices: Mapping[str, int]) -> schema.TensorMapT:
    made = schema.TensorMapT()
    made.name, made.tensorIndex = name.encode(), indices[name]
    return made
