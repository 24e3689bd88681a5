"""Counts the work of layers and looks up the gain of int8 on the target by a layer's kind and width."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import onnx

from drupelet_host.onnx_files.graph import first_output, read_constants
from drupelet_host.quantization.layers import Layer
from drupelet_host.quantization.observation import Histogram
from drupelet_host.recipe.target import Int8Gains, LayerKind


def find_gains(model: onnx.ModelProto, layers: Sequence[Layer], known: Int8Gains) -> dict[str, float]:
    """Return the factor by which int8 reduces the work of each layer, by its name.

    The gain is interpolated linearly over the logarithm of the width; beyond the table's widths the nearest entry is
    used. A layer of a kind that the table lacks, such as a transposed convolution, has gain 1.

    Args:
        model: The float model.
        layers: The model's layers.
        known: The target's table of gains.
    """
    nodes = {first_output(node): node for node in model.graph.node}
    constants = read_constants(model.graph)
    return {layer.name: _find_gain(nodes[layer.name], constants, known) for layer in layers}


def find_work(
    model: onnx.ModelProto, layers: Sequence[Layer], histograms: Mapping[str, Histogram], *, samples: int
) -> dict[str, float]:
    """Return the multiply-accumulates of each layer in one inference, by its name.

    Args:
        model: The float model.
        layers: From `find_layers`.
        histograms: The calibration histograms of the layers' outputs, which give their number of values.
        samples: The number of calibration samples.
    """
    nodes = {first_output(node): node for node in model.graph.node}
    constants = read_constants(model.graph)
    return {
        layer.name: _macs_a_value(nodes[layer.name], constants) * float(histograms[layer.name].counts.sum()) / samples
        for layer in layers
    }


def _macs_a_value(node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto]) -> int:
    weight = constants.get(node.input[1])
    if weight is None:  # a product of two activations
        return 1
    classified = _classify(node, list(weight.dims))
    if classified is not None and classified[0] in {"vector", "matrix"}:
        return classified[1]
    return math.prod(weight.dims[1:])


def _find_gain(node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto], known: Int8Gains) -> float:
    weight = constants.get(node.input[1])
    found = None if weight is None else _classify(node, list(weight.dims))
    if found is None or found[0] not in known:
        return 1.0
    kind, width = found
    widths, gains = zip(*known[kind], strict=True)
    return float(np.interp(math.log(width), np.log(widths), gains))


def _classify(node: onnx.NodeProto, dims: list[int]) -> tuple[LayerKind, int] | None:
    """Return the kind of a layer and its input channels."""
    attributes = {attribute.name: attribute.i for attribute in node.attribute}
    if node.op_type == "Gemm":
        return "vector", dims[1 if attributes.get("transB") else 0]
    if node.op_type == "MatMul":
        return "matrix", dims[-2]
    if node.op_type != "Conv":
        return None
    outputs, width, *kernel = dims
    groups = attributes.get("group", 1)
    if groups > 1:
        return ("depthwise" if groups == outputs else "grouped"), width * groups
    return ("pointwise" if set(kernel) == {1} else "convolution"), width
