"""Small ONNX models with one odd trait each: what exporters, tools and people write, and compilers trip over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper

from support.model.branching_networks import branches, captured_relu
from support.model.odd_parts import IMAGE, VECTOR, Array, Feed, conv, draw, feeds, tensor, write
from support.model.rare_networks import (
    dequantized_weights,
    matrix_bias,
    shared_axes,
    shared_feeds,
    sparse_weights,
    split_heads,
    split_inside,
    vector_product,
)


def gemm_bias(path: Path, bias: Array) -> Path:
    """A Gemm whose bias has an unusual shape."""
    nodes = [helper.make_node("Gemm", ["x", "w", "bias"], ["y"])]
    return write(path, nodes, [tensor("x", VECTOR)], [tensor("y", [1, 16])], {"w": draw(1, 64, 16), "bias": bias})


def detector(path: Path) -> Path:
    """Boxes of 0 to 320 and scores of 0 to 1, merged in one output."""
    nodes = [
        conv("x", "c", "w1"),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Conv", ["r", "wb", "bb"], ["boxes"], kernel_shape=[1, 1]),
        helper.make_node("Conv", ["r", "ws", "bs"], ["logits"], kernel_shape=[1, 1]),
        helper.make_node("Sigmoid", ["logits"], ["scores"]),
        helper.make_node("Concat", ["boxes", "scores"], ["merged"], axis=1),
        helper.make_node("Reshape", ["merged", "shape"], ["y"]),
    ]
    weights = {
        "w1": draw(1, 16, 3, 3, 3),
        "wb": draw(2, 4, 16, 1, 1, scale=30.0),
        "bb": np.full(4, 160, np.float32),
        "ws": draw(3, 6, 16, 1, 1),
        "bs": np.full(6, -2, np.float32),
        "shape": np.array([1, 10, -1]),
    }
    return write(path, nodes, [tensor("x", IMAGE)], [tensor("y", [1, 10, 256])], weights)


def one_head(path: Path) -> Path:
    """One matrix product that gives four coordinates and two scores."""
    scales = np.array([100, 100, 100, 100, 0.1, 0.1], np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "w2", "b"], ["y"]),
    ]
    weights = {"w1": draw(1, 64, 32), "w2": draw(2, 32, 6) * scales, "b": draw(3, 6)}
    return write(path, nodes, [tensor("x", VECTOR)], [tensor("y", [1, 6])], weights)


def unlike_merge(path: Path) -> Path:
    """A branch of thousands and one of ones, merged before a layer that weighs both alike."""
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["large"]),
        helper.make_node("MatMul", ["x", "w2"], ["small"]),
        helper.make_node("Concat", ["large", "small"], ["both"], axis=1),
        helper.make_node("Gemm", ["both", "w3", "b3"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "w4"], ["y"]),
    ]
    weighing = np.r_[np.full(32, 0.001), np.ones(32)][:, None].astype(np.float32)
    weights = {
        "w1": draw(1, 64, 32, scale=200.0),
        "w2": draw(2, 64, 32),
        "w3": draw(3, 64, 32) * weighing,
        "b3": draw(4, 32),
        "w4": draw(5, 32, 4),
    }
    return write(path, nodes, [tensor("x", VECTOR)], [tensor("y", [1, 4])], weights)


def grouped_transposed(path: Path) -> Path:
    """A grouped transposed convolution before a plain one."""
    up = helper.make_node("ConvTranspose", ["x", "w1", "b1"], ["u"], group=3, strides=[2, 2], kernel_shape=[2, 2])
    nodes = [up, helper.make_node("Relu", ["u"], ["r"]), conv("r", "y", "w2")]
    weights = {"w1": draw(1, 3, 8, 2, 2), "b1": draw(2, 24), "w2": draw(3, 4, 24, 3, 3)}
    return write(path, nodes, [tensor("x", IMAGE)], [tensor("y", [1, 4, 32, 32])], weights)


def spectrum(path: Path) -> Path:
    """STFT, whose shape ONNX and ONNX Runtime infer differently, before a matrix product."""
    nodes = [
        helper.make_node("STFT", ["x", "hop", "window"], ["s"]),
        helper.make_node("ReduceL2", ["s"], ["magnitude"], axes=[3], keepdims=0),
        helper.make_node("MatMul", ["magnitude", "w"], ["y"]),
    ]
    weights = {"hop": np.array(160), "window": np.hanning(400).astype(np.float32), "w": draw(1, 201, 20)}
    return write(path, nodes, [tensor("x", [1, 1600, 1])], [tensor("y", [1, "t", 20])], weights)


def colliding_names(path: Path) -> Path:
    """An output of a layer has the name that a quantizer gives its bias."""
    nodes = [
        conv("x", "k_quantized", "w", "k"),
        helper.make_node("Transpose", ["k_quantized"], ["t"], perm=[0, 2, 3, 1]),
        helper.make_node("MatMul", ["t", "w2"], ["y"]),
    ]
    weights = {"w": draw(1, 8, 3, 3, 3), "w2": draw(2, 8, 4), "k": draw(3, 8)}
    return write(path, nodes, [tensor("x", IMAGE)], [tensor("y", [1, 16, 16, 4])], weights)


def unsorted_nodes(path: Path) -> Path:
    """A node stands before the one that makes what it reads; both layers share a bias."""
    nodes = [
        conv("x", "c1", "w1", "bias"),
        conv("doubled", "c2", "w2", "bias"),
        helper.make_node("Mul", ["x", "two"], ["doubled"]),
        helper.make_node("Add", ["c1", "c2"], ["y"]),
    ]
    weights = {"w1": draw(1, 8, 3, 3, 3), "w2": draw(2, 8, 3, 3, 3), "bias": draw(3, 8), "two": np.float32(2)}
    return write(path, nodes, [tensor("x", IMAGE)], [tensor("y", [1, 8, 16, 16])], weights)


def shared_weights(path: Path) -> Path:
    """One matrix for two inputs of unlike range, as in a siamese network."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Mul", ["x", "fifty"], ["x50"]),
        helper.make_node("MatMul", ["x50", "w"], ["b"]),
        helper.make_node("Sub", ["a", "b"], ["y"]),
    ]
    weights = {"w": draw(1, 64, 64), "fifty": np.float32(50)}
    return write(path, nodes, [tensor("x", VECTOR)], [tensor("y", VECTOR)], weights)


def tiny_channel(path: Path) -> Path:
    """A channel whose weights are almost zero and whose bias is not."""
    first, bias = draw(1, 16, 3, 3, 3), np.zeros(16, np.float32)
    first[3] *= 1e-8
    bias[3] = 5
    nodes = [conv("x", "c", "w1", "bias"), helper.make_node("Relu", ["c"], ["r"]), conv("r", "y", "w2")]
    weights = {"w1": first, "bias": bias, "w2": draw(2, 8, 16, 3, 3)}
    return write(path, nodes, [tensor("x", IMAGE)], [tensor("y", [1, 8, 16, 16])], weights)


def zero_layer(path: Path) -> Path:
    """A branch whose weights are all zero."""
    nodes = [
        conv("x", "c1", "w1"),
        conv("c1", "c2", "w2"),
        conv("x", "c3", "w3"),
        helper.make_node("Add", ["c2", "c3"], ["y"]),
    ]
    weights = {"w1": np.zeros((8, 3, 3, 3), np.float32), "w2": draw(2, 8, 8, 3, 3), "w3": draw(3, 8, 3, 3, 3)}
    return write(path, nodes, [tensor("x", IMAGE)], [tensor("y", [1, 8, 16, 16])], weights)


def underflowing_branch(path: Path) -> Path:
    """A branch whose values are below 6e-36, for which int8 has no scale."""
    nodes = [
        conv("x", "c1", "w1"),
        helper.make_node("Mul", ["c1", "tiny"], ["t"]),
        conv("t", "c2", "w2"),
        conv("x", "c3", "w3"),
        helper.make_node("Add", ["c2", "c3"], ["y"]),
    ]
    weights = {
        "w1": draw(1, 8, 3, 3, 3),
        "tiny": np.float32(1e-37),
        "w2": draw(2, 8, 8, 3, 3),
        "w3": draw(3, 8, 3, 3, 3),
    }
    return write(path, nodes, [tensor("x", IMAGE)], [tensor("y", [1, 8, 16, 16])], weights)


def batch_of_four(path: Path) -> Path:
    """A batch that the file fixes to four."""
    nodes = [
        conv("x", "c", "w1"),
        helper.make_node("GlobalAveragePool", ["c"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "w2", "b2"], ["y"]),
    ]
    weights = {"w1": draw(1, 16, 3, 3, 3), "w2": draw(2, 16, 5), "b2": draw(3, 5)}
    return write(path, nodes, [tensor("x", [4, 3, 16, 16])], [tensor("y", [4, 5])], weights)


def old_upsample(path: Path) -> Path:
    """Opset 9, IR version 3: weights among the inputs, and Upsample, which maps coordinates in its own way."""
    nodes = [
        conv("x", "c1", "w1"),
        helper.make_node("Upsample", ["c1", "scales"], ["u"], mode="linear"),
        conv("u", "y", "w2"),
    ]
    weights = {"w1": draw(1, 8, 3, 3, 3), "scales": np.array([1, 1, 2, 2], np.float32), "w2": draw(2, 8, 8, 3, 3)}
    inputs = [tensor("x", IMAGE), *(tensor(name, values.shape) for name, values in weights.items())]
    return write(path, nodes, inputs, [tensor("y", [1, 8, 32, 32])], weights, opset=9, ir=3)


def squares(path: Path) -> Path:
    """The magnitude of two convolutions: an addition between operators that stay in float."""
    nodes = [
        conv("x", "c1", "w1"),
        conv("x", "c2", "w2"),
        helper.make_node("Mul", ["c1", "c1"], ["q1"]),
        helper.make_node("Mul", ["c2", "c2"], ["q2"]),
        helper.make_node("Add", ["q1", "q2"], ["power"]),
        helper.make_node("Sqrt", ["power"], ["magnitude"]),
        conv("magnitude", "y", "w3"),
    ]
    weights = {"w1": draw(1, 8, 3, 3, 3), "w2": draw(2, 8, 3, 3, 3), "w3": draw(3, 4, 8, 3, 3)}
    return write(path, nodes, [tensor("x", IMAGE)], [tensor("y", [1, 4, 16, 16])], weights)


def numbered_names(path: Path) -> Path:
    """Layers that share a bias, and tensors named as the quantizer would name its copies: with a number behind."""
    nodes = [
        conv("x", "bias0", "w1", "bias"),
        conv("bias0", "bias1", "w2", "bias"),
        conv("bias1", "bias2", "w2", "bias"),
        helper.make_node("Relu", ["bias2"], ["y"]),
    ]
    weights = {"w1": draw(1, 8, 3, 3, 3), "w2": draw(2, 8, 8, 3, 3), "bias": draw(3, 8)}
    return write(path, nodes, [tensor("x", IMAGE)], [tensor("y", [1, 8, 16, 16])], weights)


def wide_table(path: Path) -> Path:
    """A table of cosines that folding would write out: a megabyte for a kilobyte of file."""
    nodes = [
        helper.make_node("Range", ["zero", "size", "one"], ["n"]),
        helper.make_node("Reshape", ["n", "column"], ["k"]),
        helper.make_node("Mul", ["n", "k"], ["nk"]),
        helper.make_node("Mul", ["nk", "omega"], ["phase"]),
        helper.make_node("Cos", ["phase"], ["table"]),
        helper.make_node("MatMul", ["x", "table"], ["m"]),
        helper.make_node("MatMul", ["m", "w"], ["y"]),
    ]
    weights = {
        "zero": np.float32(0),
        "size": np.float32(512),
        "one": np.float32(1),
        "column": np.array([-1, 1]),
        "omega": np.float32(2 * np.pi / 512),
        "w": draw(1, 512, 4),
    }
    return write(path, nodes, [tensor("x", [1, 512])], [tensor("y", [1, 4])], weights)


def tied_embedding(path: Path) -> Path:
    """An embedding that is read as it is and, transposed, as the last matrix."""
    nodes = [
        helper.make_node("Gather", ["w", "ids"], ["e"]),
        helper.make_node("Tanh", ["e"], ["h"]),
        helper.make_node("Transpose", ["w"], ["wt"], perm=[1, 0]),
        helper.make_node("MatMul", ["h", "wt"], ["y"]),
    ]
    return write(
        path, nodes, [tensor("ids", [1, 12], TensorProto.INT64)], [tensor("y", [1, 12, 600])], {"w": draw(1, 600, 64)}
    )


def noisy(path: Path) -> Path:
    """Noise drawn inside the graph."""
    nodes = [
        helper.make_node("RandomNormalLike", ["x"], ["noise"]),
        helper.make_node("Add", ["x", "noise"], ["n"]),
        helper.make_node("MatMul", ["n", "w"], ["y"]),
    ]
    return write(path, nodes, [tensor("x", VECTOR)], [tensor("y", [1, 8])], {"w": draw(1, 64, 8)})


def training_dropout(path: Path) -> Path:
    """Dropout that was exported in training mode."""
    nodes = [
        helper.make_node("Dropout", ["x", "ratio", "training"], ["d"]),
        helper.make_node("MatMul", ["d", "w"], ["y"]),
    ]
    weights = {"ratio": np.float32(0.5), "training": np.array(True), "w": draw(1, 64, 8)}  # noqa: FBT003 - a tensor
    return write(path, nodes, [tensor("x", VECTOR)], [tensor("y", [1, 8])], weights)


def logarithm(path: Path) -> Path:
    """NaN in about half of the answers' values, where a sum is negative."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("Log", ["m"], ["y"])]
    return write(path, nodes, [tensor("x", VECTOR)], [tensor("y", [1, 8])], {"w": draw(1, 64, 8)})


def scalar_input(path: Path) -> Path:
    """An input and an output without dimensions."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("Mul", ["m", "gain"], ["y"]),
        helper.make_node("ReduceMean", ["y"], ["mean"], keepdims=0),
    ]
    return write(
        path,
        nodes,
        [tensor("x", VECTOR), tensor("gain", [])],
        [tensor("y", [1, 8]), tensor("mean", [])],
        {"w": draw(1, 64, 8)},
    )


def newest(path: Path) -> Path:
    """Opset 23 and IR version 11, which ONNX Runtime 1.20 refuses."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    return write(path, nodes, [tensor("x", VECTOR)], [tensor("y", [1, 8])], {"w": draw(1, 64, 8)}, opset=23, ir=11)


# What static int8 must keep near the float model, with the inputs it takes.
QUANTIZABLE: dict[str, tuple[Callable[[Path], Path], list[Feed]]] = {
    **{
        f"gemm bias {list(bias.shape)}": ((lambda path, bias=bias: gemm_bias(path, bias)), feeds(VECTOR))
        for bias in (draw(2, 1, 16), draw(2, 1), draw(2, 1, 1), np.float32(0.3).reshape(()), draw(2, 16))
    },
    "detector": (detector, feeds(IMAGE)),
    "one head": (one_head, feeds(VECTOR)),
    "unlike merge": (unlike_merge, feeds(VECTOR)),
    "grouped transposed": (grouped_transposed, feeds(IMAGE)),
    "spectrum": (spectrum, feeds([1, 1600, 1])),
    "colliding names": (colliding_names, feeds(IMAGE)),
    "unsorted nodes": (unsorted_nodes, feeds(IMAGE)),
    "shared weights": (shared_weights, feeds(VECTOR)),
    "tiny channel": (tiny_channel, feeds(IMAGE)),
    "zero layer": (zero_layer, feeds(IMAGE)),
    "underflowing branch": (underflowing_branch, feeds(IMAGE)),
    "batch of four": (batch_of_four, feeds([4, 3, 16, 16])),
    "old upsample": (old_upsample, feeds(IMAGE)),
    "branches": (branches, feeds(VECTOR)),
    "captured relu": (captured_relu, feeds(IMAGE)),
    "squares": (squares, feeds(IMAGE)),
    "numbered names": (numbered_names, feeds(IMAGE)),
    "newest": (newest, feeds(VECTOR)),
    "shared axes": (shared_axes, shared_feeds()),
    "matrix bias": (matrix_bias, feeds([4, 64])),
    "sparse weights": (sparse_weights, feeds(VECTOR)),
    "dequantized weights": (dequantized_weights, feeds(VECTOR)),
    "vector product": (vector_product, feeds(VECTOR)),
    "split heads": (split_heads, feeds(VECTOR)),
    "split inside": (split_inside, feeds(VECTOR)),
}
