"""Models with one odd trait each keep their int8, their size and their answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from onnxruntime.quantization import CalibrationDataReader
from onnxruntime.quantization import quantize_static as quantize_with_ort

from drupelet_host.errors import ExportError
from drupelet_host.evaluation.fidelity import find_worst
from drupelet_host.evaluation.scoring import answer_session
from drupelet_host.onnx_files.optimisation import optimise
from drupelet_host.onnx_files.preparation import prepare
from drupelet_host.quantization.dynamic import quantize_dynamic
from drupelet_host.quantization.float16 import store_float16
from drupelet_host.quantization.static import StaticSettings, calibrate, quantize_static, write_static
from drupelet_host.quantization.unquantizable import find_by_trying, find_idle
from drupelet_shared.engines.registry import load_engine
from support.model import branching_networks, odd_networks, odd_parts, rare_networks
from support.model.odd_networks import QUANTIZABLE
from support.model.odd_parts import IMAGE, VECTOR, Feed, feeds

KEPT = 0.97


def worst(path: Path, source: Path, samples: Sequence[Feed]) -> float:
    """The lowest fidelity of any group of channels, in the engine that a device has."""
    engine = load_engine("onnxruntime")
    answers, expected = (answer_session(engine.load(file, threads=1), samples) for file in (path, source))
    return find_worst(answers, expected).score


@pytest.mark.parametrize("bias_correction", [False, True])
@pytest.mark.parametrize("name", list(QUANTIZABLE))
def test_an_odd_model_is_optimised_and_becomes_static_int8(tmp_path: Path, name: str, *, bias_correction: bool) -> None:
    make, samples = QUANTIZABLE[name]
    source, whole, int8 = make(tmp_path / "source.onnx"), tmp_path / "float.onnx", tmp_path / "int8.onnx"
    assert optimise(source, whole, samples=samples[:4]).difference < 1e-4
    settings = StaticSettings("minmax", bias_correction=bias_correction)
    quantize_static(whole, int8, calibration=samples, settings=settings)
    assert KEPT < worst(int8, source, samples) < 1.0


@pytest.mark.parametrize(
    ("name", "layer", "reason"),
    [
        ("detector", "merged", "unlike ranges"),
        ("one head", "y", "unlike ranges"),
        ("unlike merge", "h", "it reads both, which merges tensors of unlike ranges"),
        ("split heads", "all", "unlike ranges"),
        ("split heads", "boxes", "unlike ranges"),
        ("split inside", "h", "it makes what large splits into parts of unlike ranges"),
        ("grouped transposed", "u", "grouped transposed convolution"),
        ("captured relu", "r", "a branch or a loop reads it"),
    ],
)
def test_a_node_that_cannot_be_int8_stays_float_and_says_why(
    tmp_path: Path, name: str, layer: str, reason: str
) -> None:
    make, samples = QUANTIZABLE[name]
    calibrated = calibrate(make(tmp_path / "model.onnx"), calibration=samples)
    assert reason in calibrated.float_nodes[layer]


def test_an_addition_between_float_operators_stays_float(tmp_path: Path) -> None:
    model = prepare(odd_networks.squares(tmp_path / "model.onnx"))
    assert find_idle(model, movable=frozenset({"Add", "Relu"})) == {"power"}


def test_the_branches_of_a_merged_output_stay_int8(tmp_path: Path) -> None:
    make, samples = QUANTIZABLE["detector"]
    calibrated = calibrate(make(tmp_path / "model.onnx"), calibration=samples)
    assert {layer.name for layer in calibrated.layers}.isdisjoint(calibrated.float_nodes)


def test_a_node_that_the_quantizer_fails_at_is_found_among_many() -> None:
    nodes = [f"n{index}" for index in range(100)]
    tries: list[int] = []

    def attempt(chosen: frozenset[str]) -> str | None:
        tries.append(len(chosen))
        return "it breaks" if {"n13", "n77"} & chosen else None

    assert find_by_trying(nodes, attempt) == {"n13": "it breaks", "n77": "it breaks"}
    assert len(tries) <= 40


def test_two_nodes_that_break_each_other_lose_one() -> None:
    def attempt(chosen: frozenset[str]) -> str | None:
        return "both" if {"a", "d"} <= chosen else None

    assert find_by_trying(["a", "b", "c", "d"], attempt) == {"d": "both"}


def test_a_model_that_is_int8_already_is_left_alone(tmp_path: Path) -> None:
    class Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime ships no types
        def __init__(self) -> None:
            self.samples = iter(feeds(IMAGE, count=4))

        def get_next(self) -> Feed | None:
            return next(self.samples, None)

    source = odd_networks.tiny_channel(tmp_path / "float.onnx")
    quantized = tmp_path / "quantized.onnx"
    quantize_with_ort(source, quantized, Reader())
    assert optimise(quantized, tmp_path / "optimised.onnx", samples=feeds(IMAGE, count=2)).difference < 1e-4
    with pytest.raises(ExportError, match="the file has it quantized already"):
        quantize_static(quantized, tmp_path / "again.onnx", calibration=feeds(IMAGE, count=4))


@pytest.mark.parametrize(
    "make", [branching_networks.branches, branching_networks.loop, branching_networks.constants_in_branches]
)
def test_weights_in_branches_and_loops_are_stored_in_fewer_bytes(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    source = make(tmp_path / "model.onnx")
    for store, size in ((store_float16, 0.6), (quantize_dynamic, 0.4)):
        path, whole = tmp_path / "small.onnx", tmp_path / "float.onnx"
        optimise(source, whole, samples=feeds(VECTOR, count=2))
        store(whole, path)
        assert path.stat().st_size < size * source.stat().st_size
        assert worst(path, source, feeds(VECTOR)) > KEPT


@pytest.mark.parametrize(
    ("make", "samples"),
    [
        (odd_networks.wide_table, feeds([1, 512], count=4)),
        (odd_networks.tied_embedding, [{"ids": np.arange(12).reshape(1, 12) + seed} for seed in range(4)]),
    ],
)
def test_folding_does_not_make_a_file_larger(tmp_path: Path, make: Callable[[Path], Path], samples: list[Feed]) -> None:
    source, path, int8 = make(tmp_path / "model.onnx"), tmp_path / "float.onnx", tmp_path / "int8.onnx"
    made = optimise(source, path, samples=samples)
    assert made.kept is None
    assert path.stat().st_size < 1.05 * source.stat().st_size
    assert worst(path, source, samples) > 0.9999
    calibrated = calibrate(path, calibration=samples)
    write_static(calibrated, int8, settings=StaticSettings("minmax"))
    assert int8.stat().st_size < 0.7 * source.stat().st_size


def test_a_file_that_optimisation_would_change_is_used_as_it_was_given(tmp_path: Path) -> None:
    source, path = odd_networks.one_head(tmp_path / "model.onnx"), tmp_path / "same.onnx"
    made = optimise(source, path, samples=feeds(VECTOR, count=2), tolerance=-1.0)
    assert made.kept is not None
    assert "the optimised model's outputs differ" in made.kept
    assert [node.op_type for node in onnx.load(path).graph.node] == ["MatMul", "Relu", "Gemm"]
    assert worst(path, source, feeds(VECTOR)) == 1.0


def test_answers_that_are_nan_in_both_are_the_same(tmp_path: Path) -> None:
    source = odd_networks.logarithm(tmp_path / "model.onnx")
    assert optimise(source, tmp_path / "float.onnx", samples=feeds(VECTOR)).kept is None


def test_a_file_of_a_new_operator_set_is_lowered_for_older_engines(tmp_path: Path) -> None:
    path = tmp_path / "float.onnx"
    optimise(odd_networks.newest(tmp_path / "model.onnx"), path, samples=feeds(VECTOR, count=2))
    model = onnx.load(path)
    assert (model.ir_version, [opset.version for opset in model.opset_import]) == (10, [21])


@pytest.mark.parametrize("make", [rare_networks.stacked_products, rare_networks.taken_names])
def test_a_node_that_dynamic_int8_fails_at_leaves_the_others_int8(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    source, int8 = make(tmp_path / "source.onnx"), tmp_path / "int8.onnx"
    quantize_dynamic(source, int8)
    products = [node.op_type for node in onnx.load(int8).graph.node if "MatMul" in node.op_type]
    assert sorted(products) == ["MatMul", "MatMulInteger"]
    assert KEPT < worst(int8, source, feeds(VECTOR)) < 1.0


def test_names_that_do_not_collide_stay(tmp_path: Path) -> None:
    path = tmp_path / "float.onnx"
    source = odd_parts.write(
        tmp_path / "model.onnx",
        [odd_parts.conv("x", "conv1", "conv1_weight", "conv1_bias"), helper.make_node("Relu", ["conv1"], ["y"])],
        [odd_parts.tensor("x", IMAGE)],
        [odd_parts.tensor("y", [1, 8, 16, 16])],
        {"conv1_weight": odd_parts.draw(1, 8, 3, 3, 3), "conv1_bias": odd_parts.draw(2, 8)},
    )
    optimise(source, path, samples=feeds(IMAGE, count=2))
    assert {constant.name for constant in onnx.load(path).graph.initializer} == {"conv1_weight", "conv1_bias"}
