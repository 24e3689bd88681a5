"""A graph whose shapes cannot be inferred is refused by name, and costs no compile its estimate of others."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from drupelet_host.errors import ModelError
from drupelet_host.latency.modelled.onnx_layers import read_graph_layers


def reshaped(operator: str, weights: tuple[int, ...]) -> onnx.ModelProto:
    """A product with a tensor whose rank is an input of the graph."""
    graph = helper.make_graph(
        [
            helper.make_node("Reshape", ["x", "sizes"], ["any"]),
            helper.make_node(operator, ["any", "w"], ["y"], name="product"),
        ],
        "graph",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 8]),
            helper.make_tensor_value_info("sizes", TensorProto.INT64, ["rank"]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 4])],
        [numpy_helper.from_array(np.ones(weights, np.float32), "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize(("operator", "weights"), [("MatMul", (8, 4)), ("Gemm", (8, 4)), ("Conv", (4, 8, 1, 1))])
def test_a_product_with_a_tensor_of_unknown_rank_is_named(operator: str, weights: tuple[int, ...]) -> None:
    model = reshaped(operator, weights)
    # The rank stays open: inference would take a vector of one size for a tensor of that rank.
    model.graph.input[1].type.tensor_type.ClearField("shape")
    with pytest.raises(ModelError, match=rf"model\.onnx: the shape of {operator} product cannot be inferred"):
        read_graph_layers(model, name="model.onnx")


def test_a_product_with_computed_weights_of_unknown_shape_is_named() -> None:
    graph = helper.make_graph(
        [
            helper.make_node("Reshape", ["w", "sizes"], ["any"]),
            helper.make_node("Conv", ["x", "any"], ["y"], name="product"),
        ],
        "graph",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8, 4, 4]),
            helper.make_tensor_value_info("w", TensorProto.FLOAT, [32]),
            helper.make_tensor_value_info("sizes", TensorProto.INT64, None),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 4, 4])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(ModelError, match=r"the shape of Conv product cannot be inferred"):
        read_graph_layers(model, name="model.onnx")
