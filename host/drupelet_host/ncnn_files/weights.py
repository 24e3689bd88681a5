"""The weights of an ncnn model: which arrays each layer has, in the order of the file.

ncnn's weight files have no directory: each layer reads what its parameters imply. An array with a flag starts with
four bytes that say how it is stored; others are float32. Sources: `load_model` of each layer, and ncnn's documentation,
"param and model file structure".
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from drupelet_host.errors import ExportError
from drupelet_host.ncnn_files.graph import NcnnGraph, NcnnLayer

FloatArray = npt.NDArray[np.float32]

_FLOAT32_FLAG, _FLOAT16_FLAG, _INT8_FLAG = (struct.pack("<I", flag) for flag in (0, 0x01306B47, 0x000D4B38))
_FLAG_BYTES = _ALIGNMENT = 4
_FLOAT32_BYTES = 4
_LARGEST_FLOAT16 = float(np.finfo(np.float16).max)
# A Scale layer whose factors are another tensor, and a flagged array's count where there is no array.
_FROM_TENSOR = -233


@dataclass(frozen=True, slots=True)
class Block:
    """One array of a layer.

    Attributes:
        role: "weight", "bias" or "other".
        count: How many values it has.
        flagged: Whether the file says how it is stored.
    """

    role: str
    count: int
    flagged: bool = False


Blocks = Iterator[Block]
Weights = Mapping[str, tuple[FloatArray, ...]]


def _weight_and_bias(outputs: int, weights: int, has_bias: int) -> Callable[[NcnnLayer], Blocks]:
    def blocks(layer: NcnnLayer) -> Blocks:
        yield Block("weight", layer.integer(weights), flagged=True)
        if layer.integer(has_bias):
            yield Block("bias", layer.integer(outputs))

    return blocks


def _repeated(times: int, *, affine: int | None = None) -> Callable[[NcnnLayer], Blocks]:
    def blocks(layer: NcnnLayer) -> Blocks:
        if affine is None or layer.integer(affine, 1):
            yield from (Block("other", layer.integer(0)) for _ in range(times))

    return blocks


def _scale(layer: NcnnLayer) -> Blocks:
    if layer.integer(0) != _FROM_TENSOR:
        yield Block("other", layer.integer(0))
        if layer.integer(1):
            yield Block("other", layer.integer(0))


def _group_norm(layer: NcnnLayer) -> Blocks:
    if layer.integer(3, 1):
        yield from (Block("other", layer.integer(1)) for _ in range(2))


def _memory_data(layer: NcnnLayer) -> Blocks:
    sizes = [size for size in (layer.integer(identifier) for identifier in (0, 1, 11, 2)) if size]
    yield Block("other", int(np.prod(sizes)), flagged=layer.integer(21, 1) == 0)


def _recurrent(gates: int, biases: int) -> Callable[[NcnnLayer], Blocks]:
    def blocks(layer: NcnnLayer) -> Blocks:
        outputs, directions = layer.integer(0), 2 if layer.integer(2) == 2 else 1  # noqa: PLR2004 - ncnn's value
        hidden = layer.integer(3, outputs)
        yield Block("other", layer.integer(1), flagged=True)
        yield Block("other", hidden * biases * directions, flagged=True)
        yield Block("other", outputs * hidden * gates * directions, flagged=True)
        if outputs != hidden:
            yield Block("other", hidden * outputs * directions, flagged=True)

    return blocks


def _gemm(layer: NcnnLayer) -> Blocks:
    rows, columns, inner = (layer.integer(identifier) for identifier in (7, 8, 9))
    if layer.integer(4):
        yield Block("other", rows * inner, flagged=True)
    if layer.integer(5):
        yield Block("other", columns * inner, flagged=True)
    broadcast = layer.integer(10)
    if layer.integer(6) and broadcast >= 0:
        yield Block("other", {0: 1, 1: rows, 2: rows, 3: rows * columns, 4: columns}[broadcast], flagged=True)


def _attention(layer: NcnnLayer) -> Blocks:
    width, size = layer.integer(0), layer.integer(2)
    queries = size // width
    keys, values = layer.integer(3, width), layer.integer(4, width)
    for weights, biases in ((size, width), (width * keys, width), (width * values, width), (size, queries)):
        yield Block("other", weights, flagged=True)
        yield Block("other", biases)


def _none(_: NcnnLayer) -> Blocks:
    return iter(())


_convolution = _weight_and_bias(outputs=0, weights=6, has_bias=5)
_LAYOUTS: Mapping[str, Callable[[NcnnLayer], Blocks]] = {
    **dict.fromkeys(
        (
            *("Convolution", "Convolution1D", "Convolution3D", "Deconvolution", "Deconvolution1D"),
            *("ConvolutionDepthWise", "ConvolutionDepthWise1D", "DeconvolutionDepthWise"),
        ),
        _convolution,
    ),
    "InnerProduct": _weight_and_bias(outputs=0, weights=2, has_bias=1),
    "Embed": _weight_and_bias(outputs=0, weights=3, has_bias=2),
    "BatchNorm": _repeated(4),
    "Scale": _scale,
    "PReLU": _repeated(1),
    "LayerNorm": _repeated(2, affine=2),
    "RMSNorm": _repeated(1, affine=2),
    "InstanceNorm": _repeated(2, affine=2),
    "GroupNorm": _group_norm,
    "MemoryData": _memory_data,
    "LSTM": _recurrent(gates=4, biases=4),
    "GRU": _recurrent(gates=3, biases=4),
    "RNN": _recurrent(gates=1, biases=1),
    "Gemm": _gemm,
    "MultiHeadAttention": _attention,
}


def blocks_of(layer: NcnnLayer) -> list[Block]:
    """Return the arrays of a layer, in the order of the file."""
    return list(_LAYOUTS.get(layer.kind, _none)(layer))


def read_weights(graph: NcnnGraph, content: bytes, *, name: str) -> dict[str, tuple[FloatArray, ...]]:
    """Read the arrays of each layer of a float32 model.

    With w = read_weights(graph, content), write_weights(graph, w) == content.

    Args:
        graph: The graph of the same model.
        content: The weights file.
        name: The model's name, for messages.

    Returns:
        The arrays of each layer that has weights, by its name.

    Raises:
        ExportError: The file holds more or less than the layers imply: a layer has weights that this reader does not
            know.
    """
    weights: dict[str, tuple[FloatArray, ...]] = {}
    position = 0
    for layer in graph.layers:
        arrays = []
        for block in blocks_of(layer):
            if block.flagged:
                if content[position : position + _FLAG_BYTES] != _FLOAT32_FLAG:
                    raise ExportError(f"{name}: the weights of {layer.kind} {layer.name} are not float32")
                position += _FLAG_BYTES
            if position + block.count * _FLOAT32_BYTES > len(content):
                raise ExportError(f"{name}: the weights end within {layer.kind} {layer.name}")
            arrays.append(np.frombuffer(content, np.float32, block.count, position))
            position += block.count * _FLOAT32_BYTES
        if arrays:
            weights[layer.name] = tuple(arrays)
    if position != len(content):
        unknown = sorted({layer.kind for layer in graph.layers} - _LAYOUTS.keys())
        raise ExportError(
            f"{name}: the layers account for {position} of {len(content)} bytes of weights: one of "
            f"{', '.join(unknown)} has weights that are not known here"
        )
    return weights


def write_weights(graph: NcnnGraph, weights: Weights, *, float16: bool = False) -> bytes:
    """Return the content of a weights file.

    Args:
        graph: The graph.
        weights: The arrays of each layer that has any.
        float16: Whether arrays with a flag are stored as float16, where all values fit; ncnn computes in float32.
    """
    parts: list[bytes] = []
    for layer in graph.layers:
        for block, values in zip(blocks_of(layer), weights.get(layer.name, ()), strict=True):
            parts.append(encode_floats(values, flagged=block.flagged, float16=float16))
    return b"".join(parts)


def encode_floats(values: FloatArray, *, flagged: bool, float16: bool = False) -> bytes:
    """Return an array as the file holds it.

    Args:
        values: The array.
        flagged: Whether the file says how it is stored.
        float16: Whether to store it as float16 if it has a flag and all values fit.
    """
    if not flagged:
        return values.astype("<f4").tobytes()
    if float16 and float(np.abs(values).max(initial=0.0)) <= _LARGEST_FLOAT16:
        return _FLOAT16_FLAG + _padded(values.astype("<f2").tobytes())
    return _FLOAT32_FLAG + values.astype("<f4").tobytes()


def encode_int8(levels: npt.NDArray[np.int8]) -> bytes:
    """Return an int8 array with its flag, as the file holds it."""
    return _INT8_FLAG + _padded(levels.tobytes())


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % _ALIGNMENT)
