"""Parts of small ONNX models: nodes, inputs, weights and samples."""

from __future__ import annotations

from collections.abc import Sequence
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
