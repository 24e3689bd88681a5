"""Reads the layers of an ONNX graph for the latency table."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
import onnx.inliner

from drupelet_host.errors import DataError, ExportError, ModelError
from drupelet_host.latency.modelled.layers import LayerKind, LayerShape, channels_and_pixels
from drupelet_host.onnx_files.running import note_shapes
from drupelet_shared.engines.base import Tensors

Shape = tuple[int, ...]

_KINDS: dict[str, LayerKind] = {
    "Conv": "convolution",
    "ConvInteger": "convolution",
    "QLinearConv": "convolution",
    "ConvTranspose": "convolution",
    "Gemm": "linear",
    "MatMul": "linear",
    "MatMulInteger": "linear",
    "QLinearMatMul": "linear",
    "MaxPool": "max_pool",
    "AveragePool": "average_pool",
    "GlobalAveragePool": "global_pool",
    "ReduceMean": "global_pool",
    "Add": "add",
    "Sub": "add",
    "Mul": "multiply",
    "Div": "multiply",
    "Concat": "concat",
    "Resize": "upsample",
    "Upsample": "upsample",
    "Sigmoid": "sigmoid",
    "HardSwish": "hardswish",
    "HardSigmoid": "sigmoid",
}
# What engines compute with the layer before it, or only rename.
_FREE = {
    "Cast",
    "Clip",
    "Constant",
    "DequantizeLinear",
    "Dropout",
    "DynamicQuantizeLinear",
    "Flatten",
    "Identity",
    "LeakyRelu",
    "QuantizeLinear",
    "Relu",
    "Reshape",
    "Shape",
    "Squeeze",
    "Unsqueeze",
}
# What costs more than to read and write its values, and no formula describes; also graphs that run within nodes.
_UNKNOWN = {"Attention", "DynamicQuantizeLSTM", "Einsum", "GRU", "LSTM", "MultiHeadAttention", "QAttention", "RNN"} | {
    "DeformConv",
    "FusedMatMul",
    "QGemm",
    "If",
    "Loop",
    "Scan",
}
_INTEGER = {"ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul"}
# These have the scale and the zero point of the first input before the second.
_QUANTIZED = {"QLinearConv", "QLinearMatMul"}
# Their integer kernels in ONNX Runtime also give float results.
_FLOAT_RESULTS = {"Gemm", "MatMul"}
_MULTIPLYING = {"convolution", "linear"}
_GATED: dict[str, LayerKind] = {"Sigmoid": "silu", "HardSigmoid": "hardswish"}
# A tensor of more dimensions has pixels beside a batch and channels.
_VECTORS = 2
_FLOATS = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16}


def read_onnx_layers(path: Path, *, feed: Tensors | None = None) -> tuple[LayerShape, ...]:
    """Return the layers of a file in order of execution.

    A layer is int8 where its operator computes with integers, or where it reads values that are stored as int8 and its
    result is stored so. A conversion that engines do not compute within a layer is a layer of its own.

    Args:
        path: The file.
        feed: The inputs of one inference, whose sizes count where the file leaves them open; without them a batch that
            is open is of 1.

    Raises:
        ModelError: The file is not an ONNX model, its shapes cannot be inferred, a size other than the batch is open,
            or it has an operator that the table does not know, such as LSTM.
    """
    try:
        model = onnx.load(path)
    except Exception as error:  # protobuf's exceptions share no base class
        raise ModelError(f"{path.name}: not an ONNX model: {error}") from error
    return tuple(read_graph_layers(model, name=path.name, feed=feed).values())


def read_graph_layers(model: onnx.ModelProto, *, name: str, feed: Tensors | None = None) -> dict[str, LayerShape]:
    """Return the layers of a model by the name of each node's first output, in order of execution.

    Args:
        model: The model; its shapes are noted anew, and variable dimensions get a size.
        name: The model's name for messages.
        feed: The inputs of one inference, whose sizes they get; without them a batch gets 1.

    Raises:
        ModelError: As `read_onnx_layers`.
    """
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value.name for value in model.graph.input if value.name not in constants]
    if unknown := sorted((feed or {}).keys() - set(inputs)):
        raise ModelError(f"{name}: inputs {', '.join(unknown)} were stated: the model takes {', '.join(inputs)}")
    for value in model.graph.input:
        if value.name not in constants:
            _close_sizes(value, None if feed is None or value.name not in feed else feed[value.name].shape, name=name)
    try:
        model = onnx.inliner.inline_local_functions(model)
        del model.graph.value_info[:]
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception as error:  # onnx's exceptions share no base class
        raise ModelError(f"{name}: not an ONNX model whose shapes can be inferred: {error}") from error
    try:
        return _Reader(inferred.graph).layers()
    except _UnknownShapeError as error:
        if feed is None or any(value.name not in feed for value in model.graph.input):
            raise ModelError(f"{name}: {error}") from error
    except ModelError as error:
        raise ModelError(f"{name}: {error}") from error
    return _read_running(model, name=name, feed=feed)


class _UnknownShapeError(ModelError):
    """A shape that a layer's cost follows from cannot be inferred."""


def _read_running(model: onnx.ModelProto, *, name: str, feed: Tensors) -> dict[str, LayerShape]:
    """Read the layers of a model whose shapes ONNX does not infer but an inference shows."""
    try:
        note_shapes(model, feed)
        return _Reader(model.graph).layers()
    except (DataError, ExportError, ModelError) as error:
        raise ModelError(f"{name}: {error}") from error


class _Reader:
    """Walks a graph's nodes; quantization and renaming nodes are looked through."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._graph = graph
        self._constants = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
        self._shapes: dict[str, Shape] = dict(self._constants)
        self._floats: set[str] = set()
        for value in (*graph.input, *graph.value_info, *graph.output):
            tensor = value.type.tensor_type
            # A tensor whose rank cannot be inferred has no shape, which is not the empty shape of a scalar.
            if tensor.HasField("shape"):
                self._shapes[value.name] = tuple(max(1, dimension.dim_value) for dimension in tensor.shape.dim)
            if tensor.elem_type in _FLOATS:
                self._floats.add(value.name)
        self._makers: dict[str, onnx.NodeProto] = {output: node for node in graph.node for output in node.output}
        self._readers: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.node:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)

    def layers(self) -> dict[str, LayerShape]:
        if unknown := sorted({node.op_type for node in self._graph.node} & _UNKNOWN):
            raise ModelError(f"what {', '.join(unknown)} costs is not in the latency table")
        gates = self._find_gates()
        layers = {node.output[0]: self._conversion(node) or self._layer(node, gates) for node in self._graph.node}
        return {output: layer for output, layer in layers.items() if layer is not None}

    def _conversion(self, node: onnx.NodeProto) -> LayerShape | None:
        """A conversion between an int8 tensor and a layer that computes in float."""
        if node.op_type == "QuantizeLinear":
            maker = self._makers.get(self._before_free(node.input[0]))
            if maker is not None and (maker.op_type == "DequantizeLinear" or self._is_int8(maker)):
                return None
        elif node.op_type == "DequantizeLinear":
            readers = self._readers.get(node.output[0], [])
            if node.input[0] in self._constants or (readers and all(self._takes_int8(one) for one in readers)):
                return None
        else:
            return None
        return self._elementwise(node, "conversion", self._shapes.get(node.output[0], ()))

    def _before_free(self, name: str) -> str:
        """The tensor from which activations and renaming make this one."""
        maker = self._makers.get(name)
        while maker is not None and maker.op_type in _FREE - {"DequantizeLinear", "Constant"} and maker.input:
            name = maker.input[0]
            maker = self._makers.get(name)
        return name

    def _takes_int8(self, node: onnx.NodeProto) -> bool:
        return node.op_type in _FREE or self._is_int8(node)

    def _is_int8(self, node: onnx.NodeProto) -> bool:
        """Whether an engine computes a node with integers: all its values are stored as int8, and so is its result."""
        if node.op_type in _INTEGER:
            return True
        multiplies = _KINDS.get(node.op_type) in _MULTIPLYING
        values = [name for name in node.input[:2] if multiplies or name not in self._constants]
        makers = [self._makers.get(name) for name in values]
        if not makers or any(maker is None or maker.op_type != "DequantizeLinear" for maker in makers):
            return False
        if node.op_type in _FLOAT_RESULTS:
            return True
        output = node.output[0]
        readers = self._readers.get(output, [])
        while len(readers) == 1 and readers[0].op_type in {"Relu", "Clip"}:
            output = readers[0].output[0]
            readers = self._readers.get(output, [])
        return bool(readers) and all(reader.op_type == "QuantizeLinear" for reader in readers)

    def _find_gates(self) -> dict[str, LayerKind | None]:
        """The kind of each product of a value with its own gate by the product's output, and None for the gate."""
        gates: dict[str, LayerKind | None] = {}
        for node in self._graph.node:
            if node.op_type != "Mul":
                continue
            for gate, value in (tuple(node.input), tuple(reversed(node.input))):
                maker = self._maker(gate)
                if (
                    maker is not None
                    and maker.op_type in _GATED
                    and self._source(maker.input[0]) == self._source(value)
                ):
                    gates[node.output[0]] = _GATED[maker.op_type]
                    gates[maker.output[0]] = None
        return gates

    def _source(self, name: str) -> str:
        """The tensor that quantization nodes pass on as this one."""
        maker = self._makers.get(name)
        while maker is not None and maker.op_type in {"DequantizeLinear", "QuantizeLinear", "Identity"}:
            name = maker.input[0]
            maker = self._makers.get(name)
        return name

    def _maker(self, name: str) -> onnx.NodeProto | None:
        return self._makers.get(self._source(name))

    def _layer(self, node: onnx.NodeProto, gates: Mapping[str, LayerKind | None]) -> LayerShape | None:
        if node.op_type in _FREE:
            return None
        output = node.output[0]
        kind = gates.get(output, _KINDS.get(node.op_type, "other"))
        shape = self._shapes.get(output)
        if kind in _MULTIPLYING and (shape is None or not self._are_known(node, convolves=kind == "convolution")):
            raise _UnknownShapeError(f"the shape of {node.op_type} {node.name or output} cannot be inferred")
        if kind is None or shape is None or not node.input:
            return None
        if kind == "convolution":
            return self._convolution(node, shape)
        if kind == "linear":
            return self._linear(node, shape)
        if output not in self._floats and node.op_type not in _KINDS:
            return None
        return self._elementwise(node, kind, shape)

    def _are_known(self, node: onnx.NodeProto, *, convolves: bool) -> bool:
        """Return whether the shapes that the cost of a multiplying node follows from are known."""
        if not self._shapes.get(node.input[0]):
            return False
        return not convolves or self._source(_second_input(node)) in self._shapes

    def _convolution(self, node: onnx.NodeProto, shape: Shape) -> LayerShape:
        attributes = _attributes(node)
        incoming = self._shapes[node.input[0]]
        weights = self._shapes[self._source(_second_input(node))]
        strides = attributes.get("strides") or [1]
        # A transposed convolution does the work of one from its output to its input.
        backwards = node.op_type == "ConvTranspose"
        return LayerShape(
            kind="convolution",
            in_channels=incoming[1],
            out_channels=shape[1],
            in_pixels=channels_and_pixels(incoming)[1],
            out_pixels=channels_and_pixels(incoming if backwards else shape)[1],
            window=math.prod(weights[2:]),
            stride=max(strides),
            groups=attributes.get("group", 1),
            axes=len(weights) - 2,
            stored="int8" if self._is_int8(node) else "float32",
            name=node.name or node.output[0],
        )

    def _linear(self, node: onnx.NodeProto, shape: Shape) -> LayerShape:
        incoming = self._shapes[node.input[0]]
        width = incoming[0] if node.op_type == "Gemm" and _attributes(node).get("transA") else incoming[-1]
        rows = max(1, math.prod(shape[:-1]))
        return LayerShape(
            kind="linear",
            in_channels=width,
            out_channels=shape[-1] if shape else 1,
            in_pixels=rows,
            out_pixels=rows,
            stored="int8" if self._is_int8(node) else "float32",
            name=node.name or node.output[0],
        )

    def _elementwise(self, node: onnx.NodeProto, kind: LayerKind, shape: Shape) -> LayerShape:
        incoming = [self._shapes[name] for name in node.input if name in self._shapes and name not in self._constants]
        first = incoming[0] if incoming else shape
        channels, pixels = channels_and_pixels(first)
        if kind == "concat":
            channels = sum(channels_and_pixels(one)[0] for one in incoming) or channels
        out_channels, out_pixels = channels_and_pixels(shape)
        samples = first[0] if len(first) > _VECTORS else 1
        window = pixels // samples if kind == "global_pool" else math.prod(_attributes(node).get("kernel_shape") or [1])
        makers = [self._maker(name) for name in node.input]
        return LayerShape(
            kind=kind,
            in_channels=channels,
            out_channels=out_channels,
            in_pixels=pixels,
            out_pixels=out_pixels,
            window=window,
            stride=max(_attributes(node).get("strides") or [1]),
            follows_convolution=any(maker is not None and maker.op_type == "Conv" for maker in makers),
            stored="int8" if self._is_int8(node) else "float32",
            name=node.name or node.output[0],
        )


def _close_sizes(value: onnx.ValueInfoProto, sizes: Shape | None, *, name: str) -> None:
    """Give open dimensions of an input their sizes; without any, only a batch can be guessed.

    Raises:
        ModelError: A size other than the batch is open, or the file has another one.
    """
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        # The number of dimensions is open too; what follows from it is known once an inference shows it.
        return
    dimensions = tensor.shape.dim
    declared = [dimension.dim_value or None for dimension in dimensions]
    shown = ", ".join(str(dimension.dim_value or dimension.dim_param or "?") for dimension in dimensions)
    if sizes is None:
        if None in declared[1:]:
            raise ModelError(
                f"{name}: input {value.name!r} of shape ({shown}) leaves sizes open on which the latency depends: "
                f"state them, as --input-shape {value.name}=1,3,224,224"
            )
        sizes = tuple(size or 1 for size in declared)
    stated = zip(declared[1:], sizes[1:], strict=False)
    if len(sizes) != len(declared) or any(size not in (None, other) for size, other in stated):
        raise ModelError(f"{name}: input {value.name!r} has shape ({shown}): {', '.join(map(str, sizes))} was stated")
    for dimension, size in zip(dimensions, sizes, strict=True):
        dimension.dim_value = dimension.dim_value or max(1, size)


def _second_input(node: onnx.NodeProto) -> str:
    return str(node.input[3 if node.op_type in _QUANTIZED else 1])


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
