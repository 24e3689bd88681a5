from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from drupelet_host.onnx_files.graph import read_constants
from drupelet_host.onnx_files.preparation import prepare


def test_weights_in_constant_nodes_become_initializers(tmp_path: Path) -> None:
    weights = np.random.default_rng(0).standard_normal((32, 16, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Constant", [], ["weights"], value=numpy_helper.from_array(weights, "any")),
        helper.make_node("Conv", ["x", "weights"], ["y"]),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 16, 8, 8])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 32, 6, 6])]
    graph = helper.make_graph(nodes, "constants", inputs, outputs)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "m.onnx")
    prepared = prepare(tmp_path / "m.onnx", for_quantizer=False)
    assert [node.op_type for node in prepared.graph.node] == ["Conv"]
    (stored,) = read_constants(prepared.graph).values()
    np.testing.assert_array_equal(numpy_helper.to_array(stored), weights)
