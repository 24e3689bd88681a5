from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from drupelet_host.quantization.choice import Judge, choose_method
from drupelet_host.quantization.mixed.gains import find_gains, find_work
from drupelet_host.quantization.mixed.losses import measure_losses
from drupelet_host.quantization.mixed.mix import mix_precision
from drupelet_host.quantization.mixed.times import time_layers
from drupelet_host.quantization.observation import run_samples
from drupelet_host.quantization.ranges import METHODS
from drupelet_host.quantization.static import Calibrated, StaticSettings, calibrate, write_static
from drupelet_host.recipe.target import Int8Gains
from drupelet_shared.engines.onnxruntime import OnnxRuntimeEngine
from support.model.onnx_networks import draw_images, write_convolutional

# One channel is so much larger than the others that int8 leaves them nothing of the tensor before the depthwise layer.
_SPREAD = 300.0
_SETTINGS = StaticSettings()
_GAINS: Int8Gains = {
    "convolution": ((3, 1.5),),
    "pointwise": ((16, 1.5),),
    "depthwise": ((8, 1.0), (32, 3.0)),
    "vector": ((32, 1.5),),
}


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
    mixed = mix_precision(calibrated, judge=judge, lowest_score=limit, settings=_SETTINGS, gains=_GAINS)
    by_layers = {step.float_layers: step for step in mixed.steps}
    assert by_layers[4].score == 0.0
    assert by_layers[0].score < limit
    assert mixed.met
    assert mixed.score >= limit
    assert mixed.has_int8
    assert mixed.settings.keep_float >= {"n1", "c2"}
    reasons = {row.layer: (row.precision, row.reason) for row in mixed.rows}
    assert reasons["c2"] == ("float", "loses most score in int8 for the work that int8 saves")
    assert ("int8", "within the limit") in reasons.values()


def test_the_result_is_what_the_rows_say(source: Path, calibrated: Calibrated, tmp_path: Path) -> None:
    judge = judge_against(source)
    mixed = mix_precision(calibrated, judge=judge, lowest_score=-0.03, settings=_SETTINGS, gains=_GAINS)
    write_static(calibrated, tmp_path / "mixed.onnx", settings=mixed.settings)
    assert judge(tmp_path / "mixed.onnx") == mixed.score
    types = {tensor.name: tensor.data_type for tensor in onnx.load(tmp_path / "mixed.onnx").graph.initializer}
    precision = {row.layer: row.precision for row in mixed.rows}
    assert ("w3" in types) == (precision["c3"] == "float")
    assert ("w2" in types) == (precision["c2"] == "float")


def test_a_limit_that_int8_meets_keeps_all_layers_in_int8(source: Path, calibrated: Calibrated) -> None:
    mixed = mix_precision(calibrated, judge=judge_against(source), lowest_score=-1.0, settings=_SETTINGS, gains=_GAINS)
    assert mixed.settings.keep_float == frozenset()
    assert {row.precision for row in mixed.rows} == {"int8"}


def test_a_limit_beyond_float_is_not_met_and_ends_in_float(source: Path, calibrated: Calibrated) -> None:
    mixed = mix_precision(calibrated, judge=judge_against(source), lowest_score=0.5, settings=_SETTINGS, gains=_GAINS)
    assert not mixed.met
    assert not mixed.has_int8
    assert mixed.score == 0.0


def test_gains_go_by_kind_and_width(calibrated: Calibrated) -> None:
    found = find_gains(calibrated.model, calibrated.layers, _GAINS)
    # 16 channels lie in the middle of 8 and 32.
    assert found == pytest.approx({"n1": 1.5, "c2": 2.0, "c3": 1.5, "scores": 1.5})
    assert set(find_gains(calibrated.model, calibrated.layers, {}).values()) == {1.0}
    (beyond,) = {find_gains(calibrated.model, calibrated.layers, {"depthwise": ((64, 4.0),)})["c2"]}
    assert beyond == 4.0


def test_the_work_of_a_layer_is_its_multiply_accumulates_in_one_inference(calibrated: Calibrated) -> None:
    found = find_work(calibrated.model, calibrated.layers, calibrated.histograms, samples=len(calibrated.samples))
    pixels = float(np.mean([sample["image"][0, 0].size for sample in calibrated.samples]))
    assert found == pytest.approx(
        {"n1": pixels * 16 * 27, "c2": pixels * 16 * 9, "c3": pixels * 32 * 16, "scores": 5 * 32}
    )


def test_layers_that_are_more_work_in_int8_on_the_target_stay_float(source: Path, calibrated: Calibrated) -> None:
    judge = judge_against(source)
    gains: Int8Gains = {**_GAINS, "depthwise": ((16, 0.5),)}
    mixed = mix_precision(calibrated, judge=judge, lowest_score=-1.0, settings=_SETTINGS, gains=gains)
    assert {row.layer: row.reason for row in mixed.rows if row.precision == "float"} == {
        "c2": "more work in int8 on the target"
    }
    assert all(row.gain == pytest.approx(1.5) for row in mixed.rows if row.layer != "c2")


def test_a_little_more_work_in_int8_is_not_worth_another_file(source: Path, calibrated: Calibrated) -> None:
    gains: Int8Gains = {**_GAINS, "depthwise": ((16, 0.999),)}
    mixed = mix_precision(calibrated, judge=judge_against(source), lowest_score=-1.0, settings=_SETTINGS, gains=gains)
    assert {row.precision for row in mixed.rows} == {"int8"}


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
    mixed = mix_precision(calibrated, judge=judge_against(source), lowest_score=-1.0, settings=settings, gains=_GAINS)
    assert {row.layer: row.reason for row in mixed.rows if row.precision == "float"} == {
        "scores": "kept in float by the recipe"
    }
