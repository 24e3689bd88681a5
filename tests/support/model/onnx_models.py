"""ONNX files made by hand, for what a trained network does not show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def write_add_model(path: Path, *, value: float = 1.0, weight_count: int = 1) -> Path:
    """`output = input + sum of the last weight`, with `weight_count` float32 weights in the file."""
    weights = np.zeros(weight_count, dtype=np.float32)
    weights[-1] = value
    nodes = [
        helper.make_node("ReduceSum", ["weights"], ["total"], keepdims=0),
        helper.make_node("Add", ["input", "total"], ["output"]),
    ]
    return _write(path, nodes, [numpy_helper.from_array(weights, "weights")])


def write_row_model(path: Path) -> Path:
    """`output = input + 1` over any number of rows of 3."""
    nodes = [helper.make_node("Add", ["input", "one"], ["output"])]
    return _write(path, nodes, [numpy_helper.from_array(np.ones(1, np.float32), "one")], shape=["rows", 3])


def write_expanding_model(path: Path, *, count: int) -> Path:
    """Return a small file that needs `count` float32 values while it runs: `output = max(exp(expand(input)))`."""
    nodes = [
        helper.make_node("Expand", ["input", "shape"], ["wide"]),
        helper.make_node("Exp", ["wide"], ["raised"]),
        helper.make_node("ReduceMax", ["raised"], ["output"], keepdims=1),
    ]
    shape = numpy_helper.from_array(np.array([count, 1], dtype=np.int64), "shape")
    return _write(path, nodes, [shape])


def _write(
    path: Path,
    nodes: list[onnx.NodeProto],
    initializers: list[onnx.TensorProto],
    *,
    shape: Sequence[int | str] = (1, 1),
) -> Path:
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("input", "output")]
    graph = helper.make_graph(nodes, "main", tensors[:1], tensors[1:], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    return path
