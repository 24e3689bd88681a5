"""A graph whose shapes cannot be inferred is refused by name, and costs no compile its estimate of others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from drupelet_host.errors import ModelError
from drupelet_host.latency.modelled.onnx_layers import read_graph_layers, read_onnx_layers
from drupelet_host.quantization.static import quantize_static
from support.model import odd_networks
from support.model.odd_parts import IMAGE, Feed, feeds


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


@pytest.mark.parametrize(("operator", "weights"), [("MatMul", (8, 4)), ("Gemm", (8, 4))])
def test_a_rank_that_an_inference_shows_is_known(operator: str, weights: tuple[int, ...]) -> None:
    model = reshaped(operator, weights)
    model.graph.input[1].type.tensor_type.ClearField("shape")
    feed = {"x": np.zeros((2, 8), np.float32), "sizes": np.array([2, 8])}
    layers = read_graph_layers(model, name="model.onnx", feed=feed)
    assert [(layer.kind, layer.in_channels, layer.out_channels, layer.out_pixels) for layer in layers.values()] == [
        ("other", 8, 8, 2),
        ("linear", 8, 4, 2),
    ][-len(layers) :]


@pytest.mark.parametrize(
    ("make", "feed"), [(odd_networks.spectrum, feeds([1, 1600, 1])[0]), (odd_networks.unsorted_nodes, feeds(IMAGE)[0])]
)
def test_files_that_onnx_does_not_infer_are_estimated_as_they_run(
    tmp_path: Path, make: Callable[[Path], Path], feed: Feed
) -> None:
    source, int8 = make(tmp_path / "model.onnx"), tmp_path / "int8.onnx"
    samples = [{"x": feed["x"] * scale} for scale in (1, 2)]
    quantize_static(source, int8, calibration=samples)
    for path in (source, int8):
        kinds = [layer.kind for layer in read_onnx_layers(path, feed=feed)]
        assert {"linear", "convolution"} & set(kinds)


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
