"""The profiles that ONNX Runtime itself writes, read without it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from drupelet_shared.engines.base import Array
from drupelet_shared.engines.onnxruntime import OnnxRuntimeEngine
from drupelet_shared.engines.onnxruntime_profile import count_operators, read_operators
from drupelet_shared.engines.profiling import ProfilingEngine
from drupelet_shared.errors import EngineError
from support.package.served_packages import slow_model


def record(model: bytes, folder: Path, inputs: dict[str, Array], *, runs: int) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(model)
    session = OnnxRuntimeEngine().load_profiled(path, threads=1, folder=folder)
    for _ in range(runs):
        session.run(inputs, [spec.name for spec in session.outputs])
    return session.end_profiling()


def branching_model() -> bytes:
    """`x` FP32 (64, 64): where its first element is positive three matrix products of it, else it alone."""
    value = [helper.make_tensor_value_info("out", TensorProto.FLOAT, [64, 64])]
    products = [helper.make_node("MatMul", ["x", "x"], ["a"], name="/inside/first")]
    products += [helper.make_node("MatMul", ["a", "x"], ["b"], name="/inside/second")]
    products += [helper.make_node("MatMul", ["b", "x"], ["out"], name="/inside/third")]
    then = helper.make_graph(products, "then", [], value)
    other = helper.make_graph([helper.make_node("Identity", ["x"], ["out"])], "else", [], value)
    nodes = [
        helper.make_node("Gather", ["x", "zero"], ["row"], name="/look/row"),
        helper.make_node("Gather", ["row", "zero"], ["first"], name="/look/first"),
        helper.make_node("Greater", ["first", "nothing"], ["is_positive"], name="/look/compare"),
        helper.make_node("If", ["is_positive"], ["y"], name="/choose", then_branch=then, else_branch=other),
    ]
    constants = {"zero": np.array(0, np.int64), "nothing": np.array(0, np.float32)}
    graph = helper.make_graph(
        nodes,
        "branching",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [64, 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [64, 64])],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    data: bytes = model.SerializeToString()
    return data


def test_every_operator_is_there_in_the_order_it_ran_with_its_time(tmp_path: Path) -> None:
    image = {"image": np.zeros((1, 1, 8, 8), np.float32)}
    file = record(slow_model(products=4, size=128), tmp_path, image, runs=8)
    operators = read_operators(file, runs=5)
    assert [operator.type for operator in operators] == ["Flatten", "MatMul", "Add", *["MatMul"] * 6]
    assert operators[3].output == "float [128, 128]"
    assert all(operator.calls == 1.0 and operator.parent is None for operator in operators)
    assert all(operator.self_mean_ms == operator.mean_ms for operator in operators)
    assert all(operator.self_ms == operator.p50_ms for operator in operators)
    assert sum(operator.mean_ms for operator in operators[3:7]) > 0
    assert count_operators(file) == 8 * 9


def test_only_the_last_inferences_count(tmp_path: Path) -> None:
    image = {"image": np.zeros((1, 1, 8, 8), np.float32)}
    file = record(slow_model(products=1, size=64), tmp_path, image, runs=4)
    lines = file.read_text().splitlines()
    # The third and fourth inference are made a second long each; the profile's unit is the microsecond.
    runs = [index for index, line in enumerate(lines) if '"model_run"' in line]
    for index in range(runs[1] + 1, runs[3]):
        if "MatMul_3_kernel_time" in lines[index]:
            head, _, rest = lines[index].partition('"dur" :')
            lines[index] = f'{head}"dur" :1000000,{rest.partition(",")[2]}'
    file.write_text("\n".join(lines))
    times = {operator.name: operator.mean_ms for operator in read_operators(file, runs=2)}
    assert times["MatMul_3"] == 1000.0
    assert {operator.name: operator.mean_ms for operator in read_operators(file, runs=4)}["MatMul_3"] < 600.0


def test_the_time_of_a_branch_contains_that_of_the_operators_inside(tmp_path: Path) -> None:
    file = record(branching_model(), tmp_path, {"x": np.full((64, 64), 0.01, np.float32)}, runs=6)
    operators = read_operators(file, runs=4)
    by_name = {operator.name: operator for operator in operators}
    choice = by_name["/choose"]
    inside = [operator for operator in operators if operator.type == "MatMul"]
    assert len(inside) == 3
    assert all(operators[operator.parent or 0] is choice for operator in inside)
    assert by_name["/look/compare"].parent is None
    assert choice.mean_ms >= sum(operator.mean_ms for operator in inside)
    assert choice.self_mean_ms == pytest.approx(choice.mean_ms - sum(operator.mean_ms for operator in inside))


def test_one_interrupted_run_changes_a_mean_and_no_median(tmp_path: Path) -> None:
    events = [
        {"cat": cat, "name": name, "ts": run * 1000, "dur": dur, "args": {"op_name": "ReduceMean"}}
        for run in range(5)
        for cat, name, dur in (
            ("Node", "mean_kernel_time", 40_000 if run == 2 else 100),
            ("Session", "model_run", 1),
        )
    ]
    file = tmp_path / "profile.json"
    file.write_text("[\n" + ",\n".join(json.dumps(event) for event in events) + "\n]")
    (operator,) = read_operators(file, runs=5)
    assert (operator.self_ms, operator.p50_ms) == (0.1, 0.1)
    assert operator.self_mean_ms == operator.mean_ms == pytest.approx(8.08)


@pytest.mark.parametrize("text", ["no profile", "[\n{}\n]", '[\n{"name": "x"},\n', "[\n[1]\n]"])
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(EngineError, match="a line is no event of ONNX Runtime"):
        read_operators(tmp_path / "p.json", runs=1)


def test_a_profile_with_fewer_inferences_than_promised_is_refused(tmp_path: Path) -> None:
    image = {"image": np.zeros((1, 1, 8, 8), np.float32)}
    file = record(slow_model(products=1, size=64), tmp_path, image, runs=2)
    with pytest.raises(EngineError, match="has 2 inferences: expected at least 3"):
        read_operators(file, runs=3)


def test_onnxruntime_has_a_profiler_and_what_it_writes_lies_in_the_folder(tmp_path: Path) -> None:
    assert isinstance(OnnxRuntimeEngine(), ProfilingEngine)
    image = {"image": np.zeros((1, 1, 8, 8), np.float32)}
    assert record(slow_model(products=1, size=64), tmp_path, image, runs=1).parent == tmp_path
