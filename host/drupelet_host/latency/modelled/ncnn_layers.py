"""Reads the layers of an ncnn graph for the latency table."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from drupelet_host.errors import DataError, ExportError, ModelError
from drupelet_host.latency.modelled.layers import LayerKind, LayerShape
from drupelet_host.ncnn_files.graph import NcnnLayer, parse_graph
from drupelet_host.ncnn_files.shapes import Shape, observe_shapes

_KINDS: dict[str, LayerKind] = {
    "Convolution": "convolution",
    "ConvolutionDepthWise": "convolution",
    "Deconvolution": "convolution",
    "DeconvolutionDepthWise": "convolution",
    "InnerProduct": "linear",
    "Gemm": "linear",
    "MatMul": "linear",
    "Pooling": "max_pool",
    "Reduction": "global_pool",
    "BinaryOp": "add",
    "Eltwise": "add",
    "Concat": "concat",
    "Interp": "upsample",
    "Swish": "silu",
    "HardSwish": "hardswish",
    "Sigmoid": "sigmoid",
    "HardSigmoid": "sigmoid",
}
_FREE = {"Input", "Split", "Reshape", "Flatten", "Dropout", "ReLU", "Clip", "Noop", "Squeeze", "ExpandDims", "Crop"}
_UNKNOWN = {"DeformableConv2D", "Einsum", "GRU", "LSTM", "MultiHeadAttention", "RNN", "SDPA"} | {
    f"{kind}{axes}"
    for kind in ("Convolution", "ConvolutionDepthWise", "Deconvolution", "DeconvolutionDepthWise")
    for axes in ("1D", "3D")
}
# Parameters of convolutions and pooling.
_OUTPUTS, _KERNEL_WIDTH, _STRIDE, _GROUPS, _INT8, _KERNEL_HEIGHT = 0, 1, 3, 7, 8, 11
_POOLING, _POOL_STRIDE, _GLOBAL = 0, 2, 4
_BINARY_PRODUCTS = {2, 3}
_SPATIAL = 3


def read_ncnn_layers(path: Path) -> tuple[LayerShape, ...]:
    """Return the layers of a graph file in order of execution; ncnn runs it once, on zeros, to tell the shapes.

    Raises:
        ModelError: The file is not an ncnn graph, does not run, or has a layer whose cost is not known, such as LSTM.
    """
    try:
        graph = parse_graph(path.read_text(encoding="utf-8"))
        shapes = observe_shapes(path)
    except (ValueError, DataError, ExportError) as error:
        raise ModelError(f"{path.name}: not an ncnn model whose shapes can be told: {error}") from error
    if unknown := sorted({layer.kind for layer in graph.layers} & _UNKNOWN):
        raise ModelError(f"{path.name}: what {', '.join(unknown)} costs is not in the latency table")
    makers = {name: layer for layer in graph.layers for name in layer.outputs}
    return tuple(_read_layer(layer, shapes, makers) for layer in graph.layers if layer.kind not in _FREE)


def _read_layer(layer: NcnnLayer, shapes: Mapping[str, Shape], makers: Mapping[str, NcnnLayer]) -> LayerShape:
    kind = _kind_of(layer)
    incoming = [shapes[name] for name in layer.inputs if name in shapes]
    outgoing = shapes[layer.outputs[0]]
    channels, pixels = _channels_and_pixels(incoming[0] if incoming else outgoing)
    out_channels, out_pixels = _channels_and_pixels(outgoing)
    window = stride = groups = 1
    if kind == "convolution":
        window, stride = _window_of(layer), layer.integer(_STRIDE, 1)
        groups = layer.integer(_GROUPS, 1) if layer.kind.endswith("DepthWise") else 1
        # A transposed convolution does the work of one from its output to its input.
        out_pixels = pixels if layer.kind.startswith("Deconvolution") else out_pixels
    elif kind == "linear":
        channels, pixels = (incoming[0][-1], math.prod(incoming[0][:-1])) if incoming else (channels, pixels)
        out_channels, out_pixels = outgoing[-1], math.prod(outgoing[:-1])
    elif kind in {"max_pool", "average_pool"}:
        window, stride = _window_of(layer), layer.integer(_POOL_STRIDE, 1)
    elif kind == "global_pool":
        window = pixels
    elif kind == "concat":
        channels = sum(_channels_and_pixels(shape)[0] for shape in incoming)
    return LayerShape(
        kind=kind,
        in_channels=channels,
        out_channels=out_channels,
        in_pixels=pixels,
        out_pixels=out_pixels,
        window=window,
        stride=max(1, stride),
        groups=groups,
        follows_convolution=any(
            name in makers and makers[name].kind.startswith("Convolution") for name in layer.inputs
        ),
        stored="int8" if kind in {"convolution", "linear"} and layer.integer(_INT8) else "float32",
        name=layer.name,
    )


def _kind_of(layer: NcnnLayer) -> LayerKind:
    if layer.kind == "Pooling":
        if layer.integer(_GLOBAL):
            return "global_pool"
        return "average_pool" if layer.integer(_POOLING) else "max_pool"
    if layer.kind == "BinaryOp" and layer.integer(0) in _BINARY_PRODUCTS:
        return "multiply"
    return _KINDS.get(layer.kind, "other")


def _window_of(layer: NcnnLayer) -> int:
    width = layer.integer(_KERNEL_WIDTH, 1)
    return width * layer.integer(_KERNEL_HEIGHT, width)


def _channels_and_pixels(shape: Shape) -> tuple[int, int]:
    if len(shape) >= _SPATIAL:
        return shape[0], math.prod(shape[1:])
    return (shape[-1] if shape else 1), math.prod(shape[:-1])
