from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from drupelet_host.latency.machine import WORKSTATION
from drupelet_host.quantization.choice import Judge, choose_method
from drupelet_host.quantization.mixed.losses import measure_losses
from drupelet_host.quantization.mixed.mix import mix_precision
from drupelet_host.quantization.mixed.table_times import look_up_times
from drupelet_host.quantization.mixed.times import time_layers
from drupelet_host.quantization.observation import run_samples
from drupelet_host.quantization.ranges import METHODS
from drupelet_host.quantization.static import Calibrated, StaticSettings, calibrate, write_static
from drupelet_shared.engines.onnxruntime import OnnxRuntimeEngine
from support.model.latency_tables import make_table
from support.model.onnx_networks import draw_images, write_convolutional

# One channel is so much larger than the others that int8 leaves them nothing of the tensor before the depthwise layer.
_SPREAD = 300.0
_SETTINGS = StaticSettings()
_FLOAT_US = {"convolution": 1.5, "pointwise": 1.5, "depthwise": 1.5, "linear": 1.5}
_INT8_US = dict.fromkeys(_FLOAT_US, 1.0)
_TABLE = make_table(_FLOAT_US, _INT8_US)


def judge_against(source: Path) -> Judge:
    """Minus the relative error of the scores: 0 is as good as float."""
    samples = draw_images(8, seed=1)
    expected = [outputs["scores"] for outputs in run_samples(source, samples)]
    power = sum(float(np.square(values).sum()) for values in expected)

    def judge(path: Path) -> float:
        found = [outputs["scores"] for outputs in run_samples(path, samples)]
        off = sum(float(np.square(a - b).sum()) for a, b in zip(found, expected, strict=True))
        return -float(np.sqrt(off / power))

    return judge


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_convolutional(tmp_path_factory.mktemp("spread") / "model.onnx", spread=_SPREAD)


@pytest.fixture(scope="module")
def calibrated(source: Path) -> Calibrated:
    return calibrate(source, calibration=draw_images(8))


def test_every_method_is_scored_and_the_best_wins(source: Path, calibrated: Calibrated, tmp_path: Path) -> None:
    judge = judge_against(source)
    choice = choose_method(calibrated, judge=judge)
    tried = [(score.method, score.bias_correction) for score in choice.scores]
    assert tried == [(method, corrected) for corrected in (False, True) for method in METHODS]
    best = max(score.score for score in choice.scores)
    write_static(calibrated, tmp_path / "best.onnx", settings=choice.settings)
    assert judge(tmp_path / "best.onnx") == best
    assert len({score.score for score in choice.scores}) > 2


def test_the_first_of_equally_good_methods_wins(calibrated: Calibrated) -> None:
    choice = choose_method(calibrated, judge=lambda _: 1.0, methods=("percentile", "minmax"))
    assert choice.settings == StaticSettings("percentile")


def test_what_must_stay_float_stays_float_in_every_method(calibrated: Calibrated) -> None:
    def judge(path: Path) -> float:
        types = {tensor.name: tensor.data_type for tensor in onnx.load(path).graph.initializer}
        return float(types.get("w3") == TensorProto.FLOAT)

    choice = choose_method(calibrated, judge=judge, keep_float=frozenset({"c3"}))
    assert {score.score for score in choice.scores} == {1.0}
    assert choice.settings.keep_float == {"c3"}


def test_the_layer_that_int8_ruins_has_the_largest_loss(source: Path, calibrated: Calibrated) -> None:
    losses = measure_losses(calibrated, judge=judge_against(source), settings=_SETTINGS, float_score=0.0)
    assert list(losses) == ["n1", "c2", "c3", "scores"]
    ruined = {"n1", "c2"}
    assert min(losses[name].loss for name in ruined) > 3 * max(losses[name].loss for name in losses.keys() - ruined)
    assert min(losses[name].error for name in ruined) > 3 * max(losses[name].error for name in losses.keys() - ruined)


def test_each_layer_has_a_time_and_together_they_are_the_whole(calibrated: Calibrated, tmp_path: Path) -> None:
    write_static(calibrated, tmp_path / "int8.onnx", settings=_SETTINGS)
    models = {"float": calibrated.model, "int8": onnx.load(tmp_path / "int8.onnx")}
    times = time_layers(models, calibrated.layers, sample=draw_images(1)[0], runs=5)
    for name, found in times.items():
        assert list(found.layers_ms) == ["n1", "c2", "c3", "scores"], name
        assert min(found.layers_ms.values()) > 0
        assert sum(found.layers_ms.values()) == pytest.approx(found.total_ms, rel=0.5)


def test_what_costs_most_returns_to_float_until_the_limit_is_met(source: Path, calibrated: Calibrated) -> None:
    judge = judge_against(source)
    limit = -0.03
    mixed = mix_precision(calibrated, judge=judge, lowest_score=limit, settings=_SETTINGS, table=_TABLE)
    by_layers = {step.float_layers: step for step in mixed.steps}
    assert by_layers[4].score == 0.0
    assert by_layers[0].score < limit
    assert mixed.met
    assert mixed.score >= limit
    assert mixed.has_int8
    assert mixed.settings.keep_float >= {"n1", "c2"}
    reasons = {row.layer: (row.precision, row.reason) for row in mixed.rows}
    assert reasons["c2"] == ("float", "loses most score in int8 for the time that int8 saves")
    assert ("int8", "within the limit") in reasons.values()


def test_the_result_is_what_the_rows_say(source: Path, calibrated: Calibrated, tmp_path: Path) -> None:
    judge = judge_against(source)
    mixed = mix_precision(calibrated, judge=judge, lowest_score=-0.03, settings=_SETTINGS, table=_TABLE)
    write_static(calibrated, tmp_path / "mixed.onnx", settings=mixed.settings)
    assert judge(tmp_path / "mixed.onnx") == mixed.score
    types = {tensor.name: tensor.data_type for tensor in onnx.load(tmp_path / "mixed.onnx").graph.initializer}
    precision = {row.layer: row.precision for row in mixed.rows}
    assert ("w3" in types) == (precision["c3"] == "float")
    assert ("w2" in types) == (precision["c2"] == "float")


def test_a_limit_that_int8_meets_keeps_all_layers_in_int8(source: Path, calibrated: Calibrated) -> None:
    mixed = mix_precision(calibrated, judge=judge_against(source), lowest_score=-1.0, settings=_SETTINGS, table=_TABLE)
    assert mixed.settings.keep_float == frozenset()
    assert {row.precision for row in mixed.rows} == {"int8"}


def test_a_limit_beyond_float_is_not_met_and_ends_in_float(source: Path, calibrated: Calibrated) -> None:
    mixed = mix_precision(calibrated, judge=judge_against(source), lowest_score=0.5, settings=_SETTINGS, table=_TABLE)
    assert not mixed.met
    assert not mixed.has_int8
    assert mixed.score == 0.0


def test_the_times_of_layers_are_the_table_s_for_the_shapes_of_a_sample(calibrated: Calibrated) -> None:
    table = make_table(_FLOAT_US, _INT8_US, conversion_us=0.25)
    sample = {"image": np.zeros((1, 3, 6, 5), np.float32)}
    found = look_up_times(calibrated.model, calibrated.layers, table, sample=sample, name="model.onnx")
    # In tiles of 4 inputs and 8 outputs; the depthwise layer is not tiled.
    work = {"n1": 30 * 16 * 4 * 9, "c2": 30 * 16 * 9, "c3": 30 * 32 * 16}
    for name, macs in work.items():
        assert found[name].float_ms == pytest.approx(1.5 * macs / 1000, rel=0.05), name
        assert found[name].int8_ms == pytest.approx(1.0 * macs / 1000, rel=0.05), name
    assert found["c2"].conversion_ms == pytest.approx(0.25 * 30 * 16 / 1000)


def test_a_layer_that_the_table_says_is_slower_in_int8_stays_float(source: Path, calibrated: Calibrated) -> None:
    judge = judge_against(source)
    table = make_table(_FLOAT_US, {**_INT8_US, "depthwise": 30.0})
    mixed = mix_precision(calibrated, judge=judge, lowest_score=-1.0, settings=_SETTINGS, table=table)
    assert {row.layer: row.reason for row in mixed.rows if row.precision == "float"} == {
        "c2": "slower in int8: modelled for by_hand"
    }
    gains = {row.layer: row.gain for row in mixed.rows}
    assert gains["c2"] == pytest.approx(0.05)
    assert gains["c3"] == pytest.approx(1.5)


def test_a_layer_that_is_hardly_slower_in_int8_is_not_worth_another_file(source: Path, calibrated: Calibrated) -> None:
    table = make_table(_FLOAT_US, {**_INT8_US, "depthwise": 1.501})
    mixed = mix_precision(calibrated, judge=judge_against(source), lowest_score=-1.0, settings=_SETTINGS, table=table)
    assert {row.precision for row in mixed.rows} == {"int8"}


def test_without_a_table_layers_are_timed_on_this_machine(source: Path, calibrated: Calibrated) -> None:
    mixed = mix_precision(calibrated, judge=judge_against(source), lowest_score=-1.0, settings=_SETTINGS, table=None)
    assert {row.source for row in mixed.rows} == {WORKSTATION}
    assert all(row.float_ms > 0 and row.int8_ms > 0 for row in mixed.rows)


def test_a_layer_in_float_between_two_in_int8_runs_in_float(calibrated: Calibrated, tmp_path: Path) -> None:
    path = tmp_path / "mixed.onnx"
    write_static(calibrated, path, settings=StaticSettings(keep_float=frozenset({"c2"})))
    assert {"QLinearConv", "Conv"} <= kernels_of(path)


def test_int8_layers_whose_biases_other_tools_left_in_float_run_in_int8(calibrated: Calibrated, tmp_path: Path) -> None:
    path = tmp_path / "int8.onnx"
    write_static(calibrated, path, settings=StaticSettings())
    model = onnx.load(path)
    makers = {node.output[0]: node for node in model.graph.node if node.op_type == "DequantizeLinear"}
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    biased = [node for node in model.graph.node if node.op_type == "Conv" and len(node.input) == 3]
    for node in biased:
        values, scale = (constants[name] for name in makers[node.input[2]].input[:2])
        node.input[2] = f"{node.name}_bias"
        model.graph.initializer.append(numpy_helper.from_array((values * scale).astype(np.float32), node.input[2]))
    onnx.save(model, path)
    assert biased
    assert "Conv" not in kernels_of(path)


def kernels_of(path: Path) -> set[str]:
    """What ONNX Runtime runs for a model of images, as the agent loads it."""
    session = OnnxRuntimeEngine().load_profiled(path, threads=1, folder=path.parent)
    session.run(draw_images(1)[0], ["scores"])
    events = json.loads(session.end_profiling().read_text(encoding="utf-8"))
    return {event["args"]["op_name"] for event in events if "op_name" in event.get("args", {})}


def test_layers_asked_for_stay_float_with_that_reason(source: Path, calibrated: Calibrated) -> None:
    settings = StaticSettings(keep_float=frozenset({"scores"}))
    mixed = mix_precision(calibrated, judge=judge_against(source), lowest_score=-1.0, settings=settings, table=_TABLE)
    assert {row.layer: row.reason for row in mixed.rows if row.precision == "float"} == {
        "scores": "kept in float by the recipe"
    }
