"""Small ONNX models with one odd trait each: what exporters, tools and people write, and compilers trip over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

Array = npt.NDArray[Any]
Feed = dict[str, Array]
IMAGE, VECTOR = [1, 3, 16, 16], [1, 64]


def draw(seed: int, *shape: int, scale: float = 0.2) -> Array:
    return (np.random.default_rng(seed).normal(size=shape) * scale).astype(np.float32)


def feeds(shape: Sequence[int], *, count: int = 16, name: str = "x") -> list[Feed]:
    return [{name: draw(100 + seed, *shape, scale=1.0)} for seed in range(count)]


def tensor(name: str, shape: Sequence[int | str], kind: int = TensorProto.FLOAT) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, list(shape))


def write(
    path: Path,
    nodes: Sequence[NodeProto],
    inputs: Sequence[ValueInfoProto],
    outputs: Sequence[ValueInfoProto],
    weights: dict[str, Array],
    *,
    opset: int = 17,
    ir: int = 8,
) -> Path:
    """Write a graph of these nodes."""
    constants = [numpy_helper.from_array(np.asarray(values), name) for name, values in weights.items()]
    graph = helper.make_graph(list(nodes), "odd", list(inputs), list(outputs), constants)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir), path)
    return path


def conv(source: str, target: str, weight: str, *more: str, **attributes: Any) -> NodeProto:  # noqa: ANN401 - ONNX's
    return helper.make_node(
        "Conv", [source, weight, *more], [target], kernel_shape=[3, 3], pads=[1, 1, 1, 1], **attributes
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


def branches(path: Path) -> Path:
    """If, with a layer and its weight in each branch."""
    arms = [
        helper.make_graph(
            [helper.make_node("MatMul", ["x", "w"], [f"{arm}_m"]), helper.make_node(op, [f"{arm}_m"], [f"{arm}_y"])],
            arm,
            [],
            [tensor(f"{arm}_y", VECTOR)],
            [numpy_helper.from_array(draw(seed, 64, 64), "w")],
        )
        for seed, (arm, op) in enumerate((("yes", "Relu"), ("no", "Tanh")))
    ]
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        helper.make_node("Greater", ["sum", "zero"], ["positive"]),
        helper.make_node("If", ["positive"], ["o"], then_branch=arms[0], else_branch=arms[1]),
        helper.make_node("MatMul", ["o", "w2"], ["y"]),
    ]
    weights = {"zero": np.float32(0), "w2": draw(3, 64, 8)}
    return write(path, nodes, [tensor("x", VECTOR)], [tensor("y", [1, 8])], weights)


def loop(path: Path) -> Path:
    """Four rounds of one layer, whose weight lies outside of the body."""
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["state", "w"], ["m"]),
            helper.make_node("Tanh", ["m"], ["next"]),
            helper.make_node("Identity", ["go"], ["on"]),
        ],
        "body",
        [tensor("round", [], TensorProto.INT64), tensor("go", [], TensorProto.BOOL), tensor("state", VECTOR)],
        [tensor("on", [], TensorProto.BOOL), tensor("next", VECTOR)],
    )
    nodes = [helper.make_node("Loop", ["rounds", "start", "x"], ["y"], body=body)]
    weights = {"rounds": np.array(4), "start": np.array(True), "w": draw(1, 64, 64)}  # noqa: FBT003 - a tensor
    return write(path, nodes, [tensor("x", VECTOR)], [tensor("y", VECTOR)], weights)


def captured_relu(path: Path) -> Path:
    """A Relu after a layer that the branches of If read, which is no reader in the outer graph."""
    arms = [
        helper.make_graph([helper.make_node(op, ["r"], [f"{arm}_y"])], arm, [], [tensor(f"{arm}_y", [1, 8, 16, 16])])
        for arm, op in (("yes", "Identity"), ("no", "Neg"))
    ]
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        helper.make_node("Greater", ["sum", "zero"], ["positive"]),
        conv("x", "c", "w1"),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Shape", ["r"], ["shape"]),
        helper.make_node("If", ["positive"], ["o"], then_branch=arms[0], else_branch=arms[1]),
        conv("o", "y", "w2"),
    ]
    weights = {"zero": np.float32(0), "w1": draw(1, 8, 3, 3, 3), "w2": draw(2, 4, 8, 3, 3)}
    outputs = [tensor("y", [1, 4, 16, 16]), tensor("shape", [4], TensorProto.INT64)]
    return write(path, nodes, [tensor("x", IMAGE)], outputs, weights)


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


def constants_in_branches(path: Path) -> Path:
    """Weights as Constant nodes, two graphs deep."""
    arms = []
    for seed, arm in enumerate(("yes", "no")):
        weight = numpy_helper.from_array(draw(seed, 64, 64), f"{arm}_w")
        inner = [
            helper.make_graph(
                [
                    helper.make_node("Constant", [], [f"{arm}{deep}_w"], value=weight),
                    helper.make_node("Transpose", [f"{arm}{deep}_w"], [f"{arm}{deep}_t"], perm=[1, 0]),
                    helper.make_node("MatMul", ["x", f"{arm}{deep}_t"], [f"{arm}{deep}_y"]),
                ],
                f"{arm}{deep}",
                [],
                [tensor(f"{arm}{deep}_y", VECTOR)],
            )
            for deep in ("a", "b")
        ]
        node = helper.make_node("If", ["large"], [f"{arm}_y"], then_branch=inner[0], else_branch=inner[1])
        arms.append(helper.make_graph([node], arm, [], [tensor(f"{arm}_y", VECTOR)]))
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        helper.make_node("Greater", ["sum", "zero"], ["positive"]),
        helper.make_node("Greater", ["sum", "five"], ["large"]),
        helper.make_node("If", ["positive"], ["y"], then_branch=arms[0], else_branch=arms[1]),
    ]
    weights = {"zero": np.float32(0), "five": np.float32(5)}
    return write(path, nodes, [tensor("x", VECTOR)], [tensor("y", VECTOR)], weights)


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
}
