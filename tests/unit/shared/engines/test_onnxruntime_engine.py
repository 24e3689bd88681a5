"""The ONNX Runtime adapter: what it keeps ONNX Runtime from doing, and int8 arithmetic as on the target."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from drupelet_shared.engines.onnxruntime import OnnxRuntimeEngine
from drupelet_shared.errors import ModelLoadError
from support.package.served_packages import linear_model

Values = Sequence[tuple[str, int, Sequence[int]]]
Arrays = Mapping[str, npt.NDArray[np.generic]]


def test_it_leaves_no_identifier_on_the_disk_and_starts_no_uploader(tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(linear_model())
    script = f"""
from pathlib import Path
from drupelet_shared.engines.registry import load_engine
session = load_engine("onnxruntime").load(Path({str(model)!r}), threads=1)
print(len(list(Path("/proc/self/task").iterdir())))
"""
    home = tmp_path / "home"
    home.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ORT_", "XDG_", "CI"))}
    environment = {**kept, "HOME": str(home), "OPENBLAS_NUM_THREADS": "1"}
    result = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert list(home.rglob("*")) == []
    assert int(result.stdout) == 1


def write_model(path: Path, nodes: list[onnx.NodeProto], *, inputs: Values, outputs: Values, constants: Arrays) -> Path:
    graph = helper.make_graph(
        nodes,
        "probe",
        [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in inputs],
        [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in outputs],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_sums_of_int8_products_are_exact_on_every_processor(tmp_path: Path) -> None:
    weights = np.full((64, 16), 127, np.int8)
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["xq", "xs", "xz"]),
        helper.make_node("MatMulInteger", ["xq", "w", "xz"], ["y"]),
        helper.make_node("Cast", ["y"], ["z"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["z", "xs"], ["out"]),
    ]
    path = write_model(
        tmp_path / "m.onnx",
        nodes,
        inputs=[("x", TensorProto.FLOAT, [1, 64])],
        outputs=[("out", TensorProto.FLOAT, [1, 16])],
        constants={"w": weights},
    )
    session = OnnxRuntimeEngine().load(path, threads=1)
    answer = session.run({"x": np.full((1, 64), 2.0, np.float32)}, ["out"])["out"]
    assert np.allclose(answer, 64 * 2.0 * 127, rtol=1e-5)


def test_a_dequantized_weight_without_a_zero_point_runs_on_every_processor(tmp_path: Path) -> None:
    levels = np.arange(-120, 120, 15, dtype=np.int8).reshape(1, 4, 4)
    scale = np.array([0.001, 0.002, 0.003, 0.004], np.float32)
    nodes = [
        helper.make_node("DequantizeLinear", ["levels", "scale"], ["weights"], axis=1),
        helper.make_node("RNN", ["x", "weights", "recurrent"], ["", "last"], hidden_size=4),
    ]
    path = write_model(
        tmp_path / "m.onnx",
        nodes,
        inputs=[("x", TensorProto.FLOAT, [1, 1, 4])],
        outputs=[("last", TensorProto.FLOAT, [1, 1, 4])],
        constants={"levels": levels, "scale": scale, "recurrent": np.zeros((1, 4, 4), np.float32)},
    )
    session = OnnxRuntimeEngine().load(path, threads=1)
    x = np.ones((1, 1, 4), np.float32)
    expected = np.tanh((levels[0] * scale[:, None]) @ x[0, 0])
    for _ in range(2):
        assert np.allclose(session.run({"x": x}, ["last"])["last"], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("a" * 257, [1, 4], r"has 257 characters: at most 256"),
        ("y", [1] * 9, r"has 9 axes: at most 8"),
    ],
)
def test_outputs_that_no_request_could_name_are_refused_in_words(
    tmp_path: Path, name: str, shape: list[int], message: str
) -> None:
    path = write_model(
        tmp_path / "m.onnx",
        [helper.make_node("Reshape", ["x", "shape"], [name])],
        inputs=[("x", TensorProto.FLOAT, shape)],
        outputs=[(name, TensorProto.FLOAT, shape)],
        constants={"shape": np.array(shape, np.int64)},
    )
    with pytest.raises(ModelLoadError, match=rf"m\.onnx: .*{message}"):
        OnnxRuntimeEngine().load(path, threads=1)
