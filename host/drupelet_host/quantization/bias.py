"""Bias correction: subtracts the mean quantization error of each channel from the layer's bias."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from drupelet_host.data.samples import Tensors
from drupelet_host.onnx_files.graph import Array, copy_model, read_constants, replace_constant
from drupelet_host.onnx_files.running import run_samples

_CONVOLUTIONS = frozenset({"Conv", "ConvTranspose"})
_BIASED = _CONVOLUTIONS | {"Gemm"}
_BIAS_INPUT = 2
_GRAPH_INPUT_SUFFIX = "_QuantizeLinear_Input"


@dataclass(frozen=True, slots=True)
class _Correctable:
    """A quantized layer whose bias no other node reads.

    Attributes:
        node: The convolution or matrix product.
        bias: The name of the initializer that is added to its output.
        channels: The number of output channels.
    """

    node: onnx.NodeProto
    bias: str
    channels: int


def add_missing_biases(model: onnx.ModelProto, *, excluded: set[str]) -> None:
    """Give each convolution and Gemm an unshared bias, of zeros where it has none; changes the model in place."""
    constants = read_constants(model.graph)
    readers = [name for node in model.graph.node for name in node.input]
    taken = {*constants, *readers, *(name for node in model.graph.node for name in node.output)}
    for node in model.graph.node:
        if node.op_type not in _CONVOLUTIONS | {"Gemm"} or node.name in excluded or node.input[1] not in constants:
            continue
        given = node.input[_BIAS_INPUT] if len(node.input) > _BIAS_INPUT else ""
        if given and (given not in constants or readers.count(given) == 1):
            continue
        channels = _count_channels(node, constants[node.input[1]])
        values = numpy_helper.to_array(constants[given]) if given else np.zeros(channels, np.float32)
        name = _pick_name(f"{node.name}_bias", taken)
        model.graph.initializer.append(numpy_helper.from_array(values, name))
        del node.input[_BIAS_INPUT:]
        node.input.append(name)


def _pick_name(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def broadcast_biases(model: onnx.ModelProto) -> None:
    """Give each Gemm with a constant bias of [1, N], [1] or no dimensions one of [N], in place; it computes the same.

    ONNX allows any bias that can be broadcast to the output; quantizers and integer kernels take a vector.
    """
    constants = read_constants(model.graph)
    taken = {*constants, *(name for node in model.graph.node for name in (*node.input, *node.output))}
    for node in model.graph.node:
        bias = constants.get(node.input[_BIAS_INPUT]) if len(node.input) > _BIAS_INPUT else None
        weight = constants.get(node.input[1]) if node.op_type == "Gemm" else None
        if bias is None or weight is None:
            continue
        channels, values = _count_channels(node, weight), numpy_helper.to_array(bias)
        is_row = values.size == channels and values.shape[-1:] == (channels,)
        if values.shape == (channels,) or not (is_row or values.size == 1):
            continue
        name = _pick_name(f"{bias.name}_vector", taken)
        vector = np.ascontiguousarray(np.broadcast_to(values.reshape(-1), (channels,)))
        model.graph.initializer.append(numpy_helper.from_array(vector, name))
        node.input[_BIAS_INPUT] = name


def separate_biases(model: onnx.ModelProto) -> None:
    """Give each layer a copy of a bias that several share, in place; in int8 each has a scale of its own.

    ONNX Runtime's quantizer names such copies by a number behind the name, which may be another tensor's.
    """
    constants = read_constants(model.graph)
    taken = {*constants, *(name for node in model.graph.node for name in (*node.input, *node.output))}
    seen: set[str] = set()
    for node in model.graph.node:
        bias = node.input[_BIAS_INPUT] if node.op_type in _BIASED and len(node.input) > _BIAS_INPUT else ""
        if bias in constants and bias in seen:
            copied = TensorProto()
            copied.CopyFrom(constants[bias])
            copied.name = node.input[_BIAS_INPUT] = _pick_name(f"{bias}_own", taken)
            model.graph.initializer.append(copied)
        seen.add(bias)


def correct_biases(
    model: onnx.ModelProto, quantized: onnx.ModelProto, *, samples: Sequence[Tensors]
) -> onnx.ModelProto:
    """Return the float model with the mean quantization error of each layer subtracted from its bias.

    Each quantized layer is computed from the input of its float layer, so that an error is counted only in the layer
    where it arises. Method: Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias
    Correction", section 4.2 and appendix D; the expected input is the mean over the calibration samples.

    Args:
        model: The float model that was quantized, after `add_missing_biases`.
        quantized: The quantized model in QDQ form.
        samples: Calibration samples.

    Raises:
        DataError: The model fails on a sample.
    """
    layers = list(_find_correctable(model, quantized))
    corrected = copy_model(model)
    if not layers:
        return corrected
    errors = _measure(_beside(model, quantized, layers), samples)
    constants = read_constants(corrected.graph)
    for position, layer in enumerate(layers):
        bias = numpy_helper.to_array(constants[layer.bias])
        beta = next((entry.f for entry in layer.node.attribute if entry.name == "beta"), 1.0)
        change = errors[f"drupelet_error_{position}"].reshape(bias.shape) / beta
        replace_constant(corrected.graph, layer.bias, (bias - change).astype(np.float32))
    return corrected


def _find_correctable(model: onnx.ModelProto, quantized: onnx.ModelProto) -> Iterator[_Correctable]:
    constants = read_constants(model.graph)
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    weights = {node.output[0] for node in quantized.graph.node if node.op_type == "DequantizeLinear"}
    int8 = {node.name for node in quantized.graph.node if len(node.input) > 1 and node.input[1] in weights}
    for node in model.graph.node:
        if node.name not in int8 or node.op_type not in _CONVOLUTIONS | {"Gemm", "MatMul"}:
            continue
        if node.input[1] not in constants:
            continue
        channels = _count_channels(node, constants[node.input[1]])
        own = node.input[_BIAS_INPUT] if len(node.input) > _BIAS_INPUT else ""
        bias = _find_added(node, readers, constants) if node.op_type == "MatMul" else own
        if bias in constants and np.prod(constants[bias].dims) == channels and len(readers[bias]) == 1:
            yield _Correctable(node, bias, channels)


def _find_added(
    node: onnx.NodeProto, readers: dict[str, list[onnx.NodeProto]], constants: dict[str, onnx.TensorProto]
) -> str:
    """Return the name of the constant that the next node adds to a matrix product, or an empty name."""
    after = readers.get(node.output[0], [])
    if len(after) != 1 or after[0].op_type != "Add":
        return ""
    return next((name for name in after[0].input if name in constants), "")


def _count_channels(node: onnx.NodeProto, weight: onnx.TensorProto) -> int:
    attributes = {entry.name: entry.i for entry in node.attribute}
    if node.op_type == "Conv":
        return int(weight.dims[0])
    if node.op_type == "ConvTranspose":
        return int(weight.dims[1] * attributes.get("group", 1))
    return int(weight.dims[0] if attributes.get("transB") else weight.dims[-1])


def _beside(model: onnx.ModelProto, quantized: onnx.ModelProto, layers: Sequence[_Correctable]) -> onnx.ModelProto:
    """Return the float model with the quantized layers added; its outputs are the summed errors of each channel."""
    both = copy_model(model)
    del both.graph.output[:]
    makers = {output: node for node in quantized.graph.node for output in node.output}
    copies = {node.name: node for node in quantized.graph.node}
    constants = read_constants(quantized.graph)
    for position, layer in enumerate(layers):
        prefix = f"drupelet_{position}_"
        node = onnx.NodeProto()
        node.CopyFrom(copies[layer.node.name])
        node.output[0], node.name = f"{prefix}output", f"{prefix}layer"
        for index, name in enumerate(node.input):
            node.input[index] = _copy_input(both.graph, name, makers=makers, constants=constants, prefix=prefix)
        both.graph.node.append(node)
        _add_mean_error(both.graph, layer, position=position)
    return both


def _copy_input(
    graph: onnx.GraphProto,
    name: str,
    *,
    makers: dict[str, onnx.NodeProto],
    constants: dict[str, onnx.TensorProto],
    prefix: str,
) -> str:
    """Copy an input of a quantized layer with the nodes that compute it from constants and float tensors."""
    if not name:
        return name
    if name in constants:
        copied = TensorProto()
        copied.CopyFrom(constants[name])
        copied.name = prefix + name
        if copied.name not in read_constants(graph):
            graph.initializer.append(copied)
        return copied.name
    maker = makers.get(name)
    if maker is None or maker.op_type not in {"QuantizeLinear", "DequantizeLinear"}:
        return name.removesuffix(_GRAPH_INPUT_SUFFIX)
    node = onnx.NodeProto()
    node.CopyFrom(maker)
    inputs = [_copy_input(graph, read, makers=makers, constants=constants, prefix=prefix) for read in maker.input]
    del node.input[:]
    node.input.extend(inputs)
    node.output[0], node.name = prefix + name, prefix + maker.name
    if not any(node.output[0] in made.output for made in graph.node):
        graph.node.append(node)
    return str(node.output[0])


def _add_mean_error(graph: onnx.GraphProto, layer: _Correctable, *, position: int) -> None:
    """Add nodes that sum the difference of both outputs over all but the channel dimension, and count its values."""
    name = f"drupelet_{position}_"
    nodes = [helper.make_node("Sub", [f"{name}output", layer.node.output[0]], [f"{name}difference"])]
    if layer.node.op_type in _CONVOLUTIONS:
        shape = np.array([0, layer.channels, -1], np.int64)
        axes = [0, 2]
    else:
        shape = np.array([-1, layer.channels], np.int64)
        axes = [0]
    graph.initializer.append(numpy_helper.from_array(shape, f"{name}shape"))
    nodes.append(helper.make_node("Reshape", [f"{name}difference", f"{name}shape"], [f"{name}rows"]))
    graph.initializer.append(numpy_helper.from_array(np.array(axes, np.int64), f"{name}axes"))
    output = f"drupelet_error_{position}"
    # ReduceSum takes its axes as an input in every opset from 13 on; ReduceMean only from 18 on.
    nodes.append(helper.make_node("ReduceSum", [f"{name}rows", f"{name}axes"], [output], keepdims=0))
    nodes.append(helper.make_node("Size", [f"{name}difference"], [f"{output}_size"]))
    graph.node.extend(nodes)
    graph.output.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, None))
    graph.output.append(helper.make_tensor_value_info(f"{output}_size", TensorProto.INT64, None))


def _measure(model: onnx.ModelProto, samples: Sequence[Tensors]) -> dict[str, Array]:
    """Return the mean error of each channel over all samples and positions."""
    sums: dict[str, Array] = {}
    for outputs in run_samples(model, samples):
        for name, values in outputs.items():
            sums[name] = sums.get(name, np.zeros((), np.float64)) + values.astype(np.float64)
    errors = {name: total for name, total in sums.items() if not name.endswith("_size")}
    return {name: total * total.size / max(float(sums[f"{name}_size"]), 1.0) for name, total in errors.items()}
