"""ncnn files made by hand from the format's own description, so that the adapter's tests need no converter.

Source: ncnn's documentation, "param and model file structure".
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from drupelet_shared.engines.base import Array
from drupelet_shared.engines.files import WEIGHTS_SUFFIX
from drupelet_shared.engines.ncnn_signature import NcnnSignature, NcnnTensor
from drupelet_shared.tensors import Datatype, TensorSpec

_MAGIC = "7767517"
_FLOAT32_TAG = struct.pack("<I", 0)


def write_linear_ncnn(path: Path, weights: Array) -> Path:
    """`image` FP32 (1, 1, 8, 8) to `scores` FP32 (1, 10): `scores = flatten(image) @ weights`."""
    inputs, outputs = weights.shape
    layers = [
        "Input image 0 1 image",
        f"InnerProduct scores 1 1 image scores 0={outputs} 1=0 2={inputs * outputs}",
    ]
    return _write(
        path,
        layers,
        _FLOAT32_TAG + np.ascontiguousarray(weights.T, np.float32).tobytes(),
        inputs=[("image", (1, 1, 8, 8))],
        outputs=[("scores", (1, outputs))],
        batch_axis=0,
    )


def write_add_ncnn(path: Path, *, shape: Sequence[int]) -> Path:
    """`output = input + 1`, both FP32 of a shape without a batch dimension; -1 is a variable one."""
    layers = ["Input input 0 1 input", "BinaryOp add 1 1 input output 0=0 1=1 2=1.0"]
    return _write(path, layers, b"", inputs=[("input", shape)], outputs=[("output", shape)], batch_axis=None)


def write_expanding_ncnn(path: Path, *, count: int) -> Path:
    """`input` FP32 (1, 1) to `output` FP32 (1, 1), with a tensor of so many elements between."""
    layers = [
        "Input input 0 1 input",
        f"Tile tile 1 1 input tiled 0=1 1={count}",
        "Reduction sum 1 1 tiled output 0=0 1=0 -23303=1,1 4=1 5=1",
    ]
    return _write(path, layers, b"", inputs=[("input", (1, 1))], outputs=[("output", (1, 1))], batch_axis=None)


def write_greedy_ncnn(path: Path, weights: Array) -> Path:
    """The linear classifier for images 8 wide and of any height, which allocates 5 MB for each row of the image."""
    inputs, outputs = weights.shape
    layers = [
        "Input image 0 1 image",
        "Split copies 1 2 image image_a image_b",
        "Pooling square 1 1 image_a square 0=1 7=1 8=8 18=8",
        f"InnerProduct linear 1 1 square linear 0={outputs} 1=0 2={inputs * outputs}",
        "Tile tile 1 1 image_b wide 0=0 1=156250",
        "Reduction largest 1 1 wide largest 0=4 1=1",
        "BinaryOp nothing 1 1 largest nothing 0=2 1=1 2=0.0",
        "BinaryOp sum 2 1 linear nothing scores 0=0",
    ]
    return _write(
        path,
        layers,
        _FLOAT32_TAG + np.ascontiguousarray(weights.T, np.float32).tobytes(),
        inputs=[("image", (1, 1, -1, 8))],
        outputs=[("scores", (1, outputs))],
        batch_axis=0,
    )


def crash_ncnn(path: Path) -> None:
    """Replace the graph by one that loads, and reads far beyond its tensors when it runs."""
    layers = ["Input image 0 1 image", "Reshape scores 1 1 image scores 0=10000000 1=10 2=10"]
    lines = [_MAGIC, f"{len(layers)} {len(layers)}", *layers]
    signature = path.read_text(encoding="utf-8").splitlines()[-1]
    path.write_text("\n".join([*lines, signature]) + "\n", encoding="utf-8")


def _write(
    path: Path,
    layers: Sequence[str],
    weights: bytes,
    *,
    inputs: Sequence[tuple[str, Sequence[int]]],
    outputs: Sequence[tuple[str, Sequence[int]]],
    batch_axis: int | None,
) -> Path:
    signature = NcnnSignature(
        tuple(_tensor(name, shape, batch_axis) for name, shape in inputs),
        tuple(_tensor(name, shape, batch_axis) for name, shape in outputs),
        hashlib.sha256(weights).hexdigest(),
    )
    tensors = sum(int(layer.split()[3]) for layer in layers)
    lines = [_MAGIC, f"{len(layers)} {tensors}", *layers]
    path.write_text("\n".join(lines) + "\n" + signature.to_line(), encoding="utf-8")
    path.with_suffix(WEIGHTS_SUFFIX).write_bytes(weights)
    return path


def _tensor(name: str, shape: Sequence[int], batch_axis: int | None) -> NcnnTensor:
    return NcnnTensor(TensorSpec(name=name, datatype=Datatype.FP32, shape=tuple(shape)), name, batch_axis)
