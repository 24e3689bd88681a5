"""Small float networks as ONNX files, with random weights that are the same each time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

Arrays = dict[str, npt.NDArray[Any]]
CLASSES = 5
_LENGTH = "length"


def write_convolutional(path: Path, *, spread: float = 1.0, opset: int = 17) -> Path:
    """Image (1, 3, height, width) to scores (1, 5): Conv and BatchNormalization, depthwise, pointwise, Gemm.

    One channel before the depthwise convolution is `spread` times as large as the others, and as much smaller after.
    """
    random = np.random.default_rng(7)
    gain = np.ones(16, np.float32)
    gain[3] = spread
    weights = {
        "w1": _draw(random, 16, 3, 3, 3) * gain[:, None, None, None],
        "scale": np.ones(16, np.float32),
        "shift": _draw(random, 16) * 0.1,
        "mean": np.zeros(16, np.float32),
        "variance": np.ones(16, np.float32),
        "w2": _draw(random, 16, 1, 3, 3) / gain[:, None, None, None],
        "b2": _draw(random, 16),
        "w3": _draw(random, 32, 16, 1, 1),
        "w4": _draw(random, CLASSES, 32),
        "b4": _draw(random, CLASSES),
    }
    nodes = [
        helper.make_node("Conv", ["image", "w1"], ["c1"], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c1", "scale", "shift", "mean", "variance"], ["n1"]),
        helper.make_node("Relu", ["n1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], group=16, pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("Conv", ["r2", "w3"], ["c3"]),
        helper.make_node("Relu", ["c3"], ["r3"]),
        helper.make_node("GlobalAveragePool", ["r3"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w4", "b4"], ["scores"], transB=1),
    ]
    inputs = [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, "height", "width"])]
    outputs = [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, CLASSES])]
    return _write(path, nodes, weights, inputs, outputs, opset=opset)


def draw_images(count: int, *, seed: int = 0) -> list[Arrays]:
    """Images of several sizes for `write_convolutional`."""
    random = np.random.default_rng(seed)
    sizes = [(8, 8), (12, 8), (10, 16)]
    return [{"image": _draw(random, 1, 3, *sizes[index % len(sizes)])} for index in range(count)]


def write_attention(path: Path) -> Path:
    """Token ids (1, length) and a mask of as many to scores (1, length, 5) and hidden states (1, length, 16)."""
    random = np.random.default_rng(8)
    weights = {
        "embedding": _draw(random, 50, 16),
        **{name: _draw(random, 16, 16) for name in ("wq", "wk", "wv")},
        "bv": _draw(random, 16),
        "wo": _draw(random, 16, CLASSES),
        "zero": np.array(0.0, np.float32),
        "forbidden": np.array(-np.inf, np.float32),
    }
    nodes = [
        helper.make_node("Gather", ["embedding", "ids"], ["tokens"]),
        helper.make_node("MatMul", ["tokens", "wq"], ["q"]),
        helper.make_node("MatMul", ["tokens", "wk"], ["k"]),
        helper.make_node("MatMul", ["tokens", "wv"], ["v0"]),
        helper.make_node("Add", ["v0", "bv"], ["v"]),
        helper.make_node("Transpose", ["k"], ["kt"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["q", "kt"], ["logits"]),
        helper.make_node("Where", ["mask", "zero", "forbidden"], ["penalty"]),
        helper.make_node("Add", ["logits", "penalty"], ["masked"]),
        helper.make_node("Softmax", ["masked"], ["shares"], axis=-1),
        helper.make_node("MatMul", ["shares", "v"], ["hidden"]),
        helper.make_node("MatMul", ["hidden", "wo"], ["scores"]),
    ]
    inputs = [
        helper.make_tensor_value_info("ids", TensorProto.INT64, [1, _LENGTH]),
        helper.make_tensor_value_info("mask", TensorProto.BOOL, [1, 1, _LENGTH]),
    ]
    outputs = [
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, _LENGTH, CLASSES]),
        helper.make_tensor_value_info("hidden", TensorProto.FLOAT, [1, _LENGTH, 16]),
    ]
    return _write(path, nodes, weights, inputs, outputs)


def draw_sentences(count: int, *, seed: int = 0) -> list[Arrays]:
    """Sentences of several lengths for `write_attention`; the last token of each is masked."""
    random = np.random.default_rng(seed)
    sentences: list[Arrays] = []
    for index in range(count):
        length = 4 + index % 5
        mask = np.ones((1, 1, length), np.bool_)
        mask[..., -1] = False
        sentences.append({"ids": random.integers(0, 50, (1, length)), "mask": mask})
    return sentences


def write_recurrent(path: Path, *, op_type: str, head: bool = True) -> Path:
    """Signal (length, 1, 8) through an LSTM, GRU or RNN of 32, with a Gemm to 5 scores if there is a head."""
    random = np.random.default_rng(9)
    rows = 32 * {"LSTM": 4, "GRU": 3, "RNN": 1}[op_type]
    weights = {
        "w": _draw(random, 1, rows, 8) / 3,
        "r": _draw(random, 1, rows, 32) / 12,
        "b": _draw(random, 1, 2 * rows) * 0.1,
        "axes": np.array([0], np.int64),
        "w2": _draw(random, 32, CLASSES),
        "b2": _draw(random, CLASSES),
    }
    last = "scores" if not head else "state"
    nodes = [
        helper.make_node(op_type, ["signal", "w", "r", "b"], ["", "last"], hidden_size=32),
        helper.make_node("Squeeze", ["last", "axes"], [last]),
    ]
    if head:
        nodes.append(helper.make_node("Gemm", ["state", "w2", "b2"], ["scores"]))
    inputs = [helper.make_tensor_value_info("signal", TensorProto.FLOAT, [_LENGTH, 1, 8])]
    outputs = [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, CLASSES if head else 32])]
    return _write(path, nodes, weights, inputs, outputs)


def draw_signals(count: int, *, seed: int = 0) -> list[Arrays]:
    """Signals of several lengths for `write_recurrent`."""
    random = np.random.default_rng(seed)
    return [{"signal": _draw(random, 6 + index % 3, 1, 8)} for index in range(count)]


def write_upsampling(path: Path) -> Path:
    """Image (1, 3, height, width) to one of twice the size: Conv, ConvTranspose."""
    random = np.random.default_rng(10)
    weights = {"w1": _draw(random, 8, 3, 3, 3), "w2": _draw(random, 8, 3, 2, 2), "b2": _draw(random, 3)}
    nodes = [
        helper.make_node("Conv", ["image", "w1"], ["c1"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("ConvTranspose", ["r1", "w2", "b2"], ["larger"], strides=[2, 2]),
    ]
    inputs = [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, "height", "width"])]
    outputs = [helper.make_tensor_value_info("larger", TensorProto.FLOAT, [1, 3, "height2", "width2"])]
    return _write(path, nodes, weights, inputs, outputs)


def write_wide_sum(path: Path) -> Path:
    """Image (1, 64, 6, 6) to (1, 4, 6, 6): one Conv without a bias; inputs around 1 make rounded weights shift it."""
    weights = {"w": _draw(np.random.default_rng(11), 4, 64, 1, 1)}
    inputs = [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 64, 6, 6])]
    outputs = [helper.make_tensor_value_info("sums", TensorProto.FLOAT, [1, 4, 6, 6])]
    return _write(path, [helper.make_node("Conv", ["image", "w"], ["sums"])], weights, inputs, outputs)


def write_outdated(path: Path) -> Path:
    """`write_convolutional` as an old exporter writes it.

    Opset 11, IR version 3 with weights among the inputs, a constant to fold, a node nothing reads, a metadata entry.
    """
    model = onnx.load(write_convolutional(path, opset=11))
    graph = model.graph
    model.ir_version = 3
    for tensor in graph.initializer:
        graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    graph.node[-1].input[2] = "folded"
    graph.node.insert(0, helper.make_node("Constant", [], ["two"], value=_scalar(2.0)))
    graph.node.insert(1, helper.make_node("Mul", ["b4", "two"], ["folded"]))
    graph.node.insert(2, helper.make_node("Relu", ["image"], ["unread"]))
    helper.set_model_props(model, {"labels": "a,b,c,d,e"})
    path.write_bytes(model.SerializeToString())
    return path


def signature(tensors: Sequence[onnx.ValueInfoProto]) -> list[tuple[str, bytes]]:
    """Names, types and dimensions, as they are written."""
    return [(tensor.name, tensor.type.SerializeToString()) for tensor in tensors]


def _draw(random: np.random.Generator, *shape: int) -> npt.NDArray[np.float32]:
    """Normal; weights of more than one axis are scaled so that outputs are about as large as inputs."""
    values: npt.NDArray[np.float32] = random.standard_normal(shape, dtype=np.float32)
    if shape[0] == 1 or len(shape) == 1:
        return values
    return values / np.float32(np.sqrt(np.prod(shape[1:])))


def _scalar(value: float) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(value, np.float32))


def _write(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    weights: Arrays,
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    *,
    opset: int = 17,
) -> Path:
    used = {name for node in nodes for name in node.input}
    constants = [numpy_helper.from_array(values, name) for name, values in weights.items() if name in used]
    graph = helper.make_graph(list(nodes), "main", list(inputs), list(outputs), constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path
