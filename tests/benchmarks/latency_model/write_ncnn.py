"""Writes a network as ncnn's graph file; ncnn reads zeros for weights that it is given no file for."""

from __future__ import annotations

import math
from pathlib import Path

from benchmarks.latency_model.networks import INPUT, Layer, Network

_MAGIC = 7767517
_INT8_INSIDE = 100
_FUSED_CODE = {"none": "", "relu": " 9=1", "relu6": " 9=3 -23310=2,0.0,6.0"}
_ACTIVATIONS = {"silu": "Swish", "hardswish": "HardSwish", "sigmoid": "Sigmoid", "relu": "ReLU", "relu6": "Clip"}
_WORDS = {"HardSwish": "0=0.166667 1=0.5", "Clip": "0=0.0 1=6.0"}


def write_ncnn(network: Network, path: Path, *, int8: bool) -> None:
    """Write the graph; layer `n` computes the tensor `tn`, and a tensor with several readers is split for them."""
    writer = _Writer(network, int8=int8)
    lines = ["Input input 0 1 t-1", *writer.split(INPUT)]
    for position in range(len(network.layers)):
        lines += [writer.line(position), *writer.split(position)]
    blobs = sum(int(line.split()[3]) for line in lines)
    path.write_text("\n".join([str(_MAGIC), f"{len(lines)} {blobs}", *lines]) + "\n", encoding="ascii")


class _Writer:
    def __init__(self, network: Network, *, int8: bool) -> None:
        self._network = network
        self._int8 = int8
        self._readers: dict[int, list[int]] = {}
        for position, layer in enumerate(network.layers):
            for source in layer.inputs:
                self._readers.setdefault(source, []).append(position)
        self._given: dict[int, int] = {}

    def split(self, position: int) -> list[str]:
        count = len(self._readers.get(position, []))
        if count < 2:
            return []
        outputs = " ".join(f"t{position}s{index}" for index in range(count))
        return [f"Split split{position} 1 {count} t{position} {outputs}"]

    def line(self, position: int) -> str:
        layer = self._network.layers[position]
        inputs = [self._take(source) for source in layer.inputs]
        kind, words = self._words(position, layer)
        return f"{kind} n{position} {len(inputs)} 1 {' '.join(inputs)} t{position} {words}".rstrip()

    def _take(self, source: int) -> str:
        if len(self._readers[source]) < 2:
            return f"t{source}"
        index = self._given.get(source, 0)
        self._given[source] = index + 1
        return f"t{source}s{index}"

    def _words(self, position: int, layer: Layer) -> tuple[str, str]:
        if layer.kind == "convolution":
            return self._convolution(position, layer)
        if layer.kind == "linear":
            count = layer.channels * math.prod(self._network.input_shape(position))
            return "InnerProduct", f"0={layer.channels} 1=1 2={count}" + (" 8=2" if self._int8 else "")
        if layer.kind == "activation":
            kind = _ACTIVATIONS[layer.activation]
            return kind, _WORDS.get(kind, "")
        window = f"1={layer.kernel} 2={layer.stride} 3={_padding(layer)} 5=1"
        return {
            "max_pool": ("Pooling", f"0=0 {window}"),
            "average_pool": ("Pooling", f"0=1 {window}"),
            "global_pool": ("Pooling", "0=1 4=1"),
            "add": ("BinaryOp", "0=0"),
            "multiply": ("BinaryOp", "0=2"),
            "concat": ("Concat", "0=0"),
            "upsample": ("Interp", f"0=1 1={layer.stride}.0 2={layer.stride}.0"),
        }[layer.kind]

    def _convolution(self, position: int, layer: Layer) -> tuple[str, str]:
        incoming, _, _ = self._network.input_shape(position)
        count = layer.channels * incoming // layer.groups * layer.kernel**2
        words = f"0={layer.channels} 1={layer.kernel} 3={layer.stride} 4={_padding(layer)} 5=1 6={count}"
        kind = "Convolution" if layer.groups == 1 else "ConvolutionDepthWise"
        if layer.groups > 1:
            words += f" 7={layer.groups}"
        if self._int8 and layer.groups in {1, layer.channels}:
            words += f" 8={(2 if layer.groups == 1 else 1) + (_INT8_INSIDE if self._stays_int8(position) else 0)}"
        return kind, words + _FUSED_CODE[layer.activation]

    def _stays_int8(self, position: int) -> bool:
        readers = self._readers.get(position, [])
        if len(readers) != 1:
            return False
        reader = self._network.layers[readers[0]]
        return reader.kind == "convolution" and reader.groups in {1, reader.channels}


def _padding(layer: Layer) -> int:
    return layer.kernel // 2 if layer.kernel % 2 else 0
