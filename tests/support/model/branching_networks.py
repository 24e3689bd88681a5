"""Small ONNX models with graphs inside: If and Loop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from support.model.odd_parts import IMAGE, VECTOR, conv, draw, tensor, write


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
