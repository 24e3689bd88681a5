"""Whether this processor adds int8 products exactly, as the target does."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper


def adds_exactly() -> bool:
    """Whether MatMulInteger of 255 and 127 gives the right sum.

    x86 with AVX2 and without VNNI adds pairs of products in 16 bits, which saturate (vpmaddubsw); Arm and VNNI do not.
    """
    values = {"a": helper.make_tensor_value_info("a", TensorProto.UINT8, [1, 64])}
    weights = helper.make_tensor("b", TensorProto.INT8, [64, 16], np.full((64, 16), 127, np.int8).tobytes(), raw=True)
    result = helper.make_tensor_value_info("y", TensorProto.INT32, [1, 16])
    node = helper.make_node("MatMulInteger", ["a", "b"], ["y"])
    graph = helper.make_graph([node], "probe", list(values.values()), [result], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run(None, {"a": np.full((1, 64), 255, np.uint8)})[0]
    return bool((found == 64 * 255 * 127).all())


REASON = "this processor saturates sums of int8 products; a Pi does not"
exact_int8 = pytest.mark.skipif(not adds_exactly(), reason=REASON)
