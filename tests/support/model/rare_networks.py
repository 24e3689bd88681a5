"""Small ONNX models with rare but valid traits: how weights are shared and stored, what no device can be asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from support.model.odd_parts import VECTOR, Feed, draw, feeds, tensor, write


def shared_axes(path: Path) -> Path:
    """One weight that a lookup, its transposed and a Gemm read along different axes."""
    nodes = [
        helper.make_node("Gather", ["w", "ids"], ["e"]),
        helper.make_node("Transpose", ["w"], ["wt"]),
        helper.make_node("MatMul", ["e", "wt"], ["y"]),
        helper.make_node("Gemm", ["x", "w"], ["z"], transB=1),
    ]
    inputs = [tensor("ids", [1, 5], TensorProto.INT64), tensor("x", [1, 32])]
    return write(path, nodes, inputs, [tensor("y", [1, 5, 50]), tensor("z", [1, 50])], {"w": draw(1, 50, 32)})


def shared_feeds() -> list[Feed]:
    random = np.random.default_rng(5)
    return [{"ids": random.integers(0, 50, (1, 5)), **feed} for feed in feeds([1, 32])]


def matrix_bias(path: Path) -> Path:
    """A Gemm whose bias has several rows, beside a plain one."""
    nodes = [
        helper.make_node("Gemm", ["x", "w", "rows"], ["h"], beta=0.5),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "w2", "column"], ["y"]),
    ]
    weights = {"w": draw(1, 64, 16), "rows": draw(2, 4, 16), "w2": draw(3, 16, 8), "column": draw(4, 4, 1)}
    return write(path, nodes, [tensor("x", [4, 64])], [tensor("y", [4, 8])], weights)


def sparse_weights(path: Path) -> Path:
    """Weights that are stored as their values that are not zero."""
    dense = draw(1, 64, 8)
    dense[np.abs(dense) < 0.2] = 0
    flat = np.flatnonzero(dense)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("Add", ["m", "b"], ["y"])]
    write(path, nodes, [tensor("x", VECTOR)], [tensor("y", [1, 8])], {"b": draw(2, 8)})
    model = onnx.load(path)
    values, places = numpy_helper.from_array(dense.reshape(-1)[flat], "w"), numpy_helper.from_array(flat, "places")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [64, 8]))
    onnx.save(model, path)
    return path


def dequantized_weights(path: Path) -> Path:
    """Weights as int8 with a scale for each channel and no zero point, and a plain layer behind."""
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "scales"], ["w"], axis=1),
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("Relu", ["m"], ["r"]),
        helper.make_node("MatMul", ["r", "w2"], ["y"]),
    ]
    whole = np.random.default_rng(1).integers(-127, 128, (64, 32)).astype(np.int8)
    weights = {"q": whole, "scales": np.full(32, 0.002, np.float32), "w2": draw(2, 32, 8)}
    return write(path, nodes, [tensor("x", VECTOR)], [tensor("y", [1, 8])], weights)


def vector_product(path: Path) -> Path:
    """A product with a vector."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    return write(path, nodes, [tensor("x", VECTOR)], [tensor("y", [1])], {"w": draw(1, 64)})


def split_heads(path: Path) -> Path:
    """One product that gives coordinates and scores for three objects, which are split into two outputs."""
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "w2"], ["all"]),
        helper.make_node("Reshape", ["all", "shape"], ["rows"]),
        helper.make_node("Split", ["rows", "sizes"], ["boxes", "logits"], axis=2),
        helper.make_node("Sigmoid", ["logits"], ["scores"]),
    ]
    scales = np.tile(np.array([90, 90, 90, 90, 0.3, 0.3], np.float32), 3)
    weights = {
        "w1": draw(1, 64, 32),
        "w2": draw(2, 32, 18) * scales,
        "shape": np.array([1, 3, 6]),
        "sizes": np.array([4, 2]),
    }
    outputs = [tensor("boxes", [1, 3, 4]), tensor("scores", [1, 3, 2])]
    return write(path, nodes, [tensor("x", VECTOR)], outputs, weights)


def split_inside(path: Path) -> Path:
    """One product whose two parts have unlike ranges and go on in layers of their own."""
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Split", ["r", "sizes"], ["large", "small"], axis=1),
        helper.make_node("MatMul", ["large", "w2"], ["a"]),
        helper.make_node("MatMul", ["small", "w3"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["s"]),
        helper.make_node("Relu", ["s"], ["q"]),
        helper.make_node("MatMul", ["q", "w4"], ["y"]),
    ]
    weights = {
        "w1": draw(1, 64, 32) * np.r_[np.full(16, 200), np.full(16, 0.2)].astype(np.float32),
        "sizes": np.array([16, 16]),
        "w2": draw(2, 16, 32, scale=0.001),
        "w3": draw(3, 16, 32, scale=1.0),
        "w4": draw(4, 32, 4),
    }
    return write(path, nodes, [tensor("x", VECTOR)], [tensor("y", [1, 4])], weights)


def stacked_products(path: Path) -> Path:
    """A product with a stack of matrices, and a plain one."""
    nodes = [
        helper.make_node("MatMul", ["x", "stack"], ["m"]),
        helper.make_node("ReduceMean", ["m"], ["h"], axes=[0], keepdims=0),
        helper.make_node("MatMul", ["h", "w"], ["y"]),
    ]
    weights = {"stack": draw(1, 4, 64, 32), "w": draw(2, 32, 16)}
    return write(path, nodes, [tensor("x", VECTOR)], [tensor("y", [1, 16])], weights)


def taken_names(path: Path) -> Path:
    """An output that is called what the quantizer calls the input's zero point."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "w2"], ["x_zero_point"]),
    ]
    weights = {"w": draw(1, 64, 16), "w2": draw(2, 16, 16)}
    return write(path, nodes, [tensor("x", VECTOR)], [tensor("x_zero_point", [1, 16])], weights)


def silent(path: Path) -> Path:
    """A graph without inputs."""
    nodes = [helper.make_node("Identity", ["w"], ["y"])]
    return write(path, nodes, [], [tensor("y", [8])], {"w": draw(1, 8)})


def named_class(path: Path) -> Path:
    """A classifier that looks the name of its class up."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("ArgMax", ["m"], ["index"], axis=1, keepdims=0),
        helper.make_node("Gather", ["names", "index"], ["y"]),
    ]
    names = np.array([f"class {index}" for index in range(8)], object)
    return write(
        path,
        nodes,
        [tensor("x", VECTOR)],
        [tensor("y", [1], TensorProto.STRING)],
        {"w": draw(1, 64, 8), "names": names},
    )


def shapeless(path: Path) -> Path:
    """An input whose shape the file does not say."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    unknown = helper.make_tensor_value_info("x", TensorProto.FLOAT, None)
    return write(path, nodes, [unknown], [tensor("y", [1, 8])], {"w": draw(1, 64, 8)})


def long_name(path: Path) -> Path:
    """An input whose name is longer than any that a manifest holds."""
    name = "x" * 300
    return write(path, [helper.make_node("Relu", [name], ["y"])], [tensor(name, VECTOR)], [tensor("y", VECTOR)], {})
