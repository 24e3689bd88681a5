"""Where layers are many, one session tells the error of each, and time that is over ends the search for methods."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from drupelet_host.data.samples import Tensors
from drupelet_host.onnx_files.canonical import write_canonical
from drupelet_host.progress.pace import Pace
from drupelet_host.quantization.choice import MethodScore, carry_on, choose_method
from drupelet_host.quantization.mixed.losses import measure_losses
from drupelet_host.quantization.mixed.sensitivity import measure_errors
from drupelet_host.quantization.static import Calibrated, StaticSettings, calibrate
from fakes.observer import RecordingObserver

WIDTH = 8
SETTINGS = StaticSettings("minmax")


def write_chain(path: Path, *, layers: int) -> Path:
    """A chain of products; each weight has one large value in every channel, more so in the last layers."""
    random = np.random.default_rng(3)
    nodes, weights, name = [], [], "input"
    for index in range(layers):
        values = random.normal(0, WIDTH**-0.5, (WIDTH, WIDTH)).astype(np.float32)
        values[0, :] += np.float32(index)
        weights.append(numpy_helper.from_array(values / np.float32(1 + index), f"w{index}"))
        nodes.append(helper.make_node("MatMul", [name, f"w{index}"], [f"m{index}"]))
        nodes.append(helper.make_node("Relu", [f"m{index}"], [f"r{index}"]))
        name = f"r{index}"
    nodes.append(helper.make_node("Identity", [name], ["output"]))
    value = [helper.make_tensor_value_info(one, TensorProto.FLOAT, [1, WIDTH]) for one in ("input", "output")]
    graph = helper.make_graph(nodes, "chain", value[:1], value[1:], weights)
    write_canonical(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def feeds(count: int) -> list[Tensors]:
    random = np.random.default_rng(1)
    return [{"input": random.normal(0, 1, (1, WIDTH)).astype(np.float32)} for _ in range(count)]


def chain(folder: Path, *, layers: int) -> Calibrated:
    return calibrate(write_chain(folder / "chain.onnx", layers=layers), calibration=feeds(8))


class CountingJudge:
    """Scores every file alike and counts them."""

    def __init__(self) -> None:
        self.files = 0

    def __call__(self, path: Path) -> float:
        assert path.is_file()
        self.files += 1
        return 0.5


def test_the_errors_of_one_session_rank_layers_as_single_int8_models_do(tmp_path: Path) -> None:
    calibrated = chain(tmp_path, layers=6)
    one_by_one = measure_losses(calibrated, judge=lambda _: 0.0, settings=SETTINGS, float_score=0.0)
    together = measure_errors(calibrated, method="minmax", samples=calibrated.samples)
    assert together.keys() == one_by_one.keys()
    single = np.array([loss.error for loss in one_by_one.values()])
    assert (single > 0).all()
    assert np.corrcoef(single.argsort().argsort(), np.array(list(together.values())).argsort().argsort())[0, 1] > 0.6
    ratios = np.array(list(together.values())) / single
    assert (ratios > 0.3).all()
    assert (ratios < 3.0).all()


@pytest.mark.slow
def test_of_many_layers_only_those_with_the_largest_errors_are_scored(tmp_path: Path) -> None:
    calibrated, judge, observer = chain(tmp_path, layers=60), CountingJudge(), RecordingObserver()
    losses = measure_losses(calibrated, judge=judge, settings=SETTINGS, float_score=1.0, pace=Pace(observer))
    assert judge.files == 16
    assert len(losses) == 60
    assert all(loss.loss >= 0 for loss in losses.values())
    assert [done for _, done, total in observer.progress if total == 16] == list(range(1, 17))


def test_a_time_that_is_over_leaves_no_layer_without_a_loss(tmp_path: Path) -> None:
    calibrated, judge = chain(tmp_path, layers=4), CountingJudge()
    over = Pace(deadline_s=time.monotonic())
    losses = measure_losses(calibrated, judge=judge, settings=SETTINGS, float_score=1.0, pace=over)
    assert judge.files == 0
    assert len(losses) == 4
    assert all(loss.error > 0 for loss in losses.values())


def test_a_time_that_is_over_leaves_one_method(tmp_path: Path) -> None:
    judge = CountingJudge()
    choice = choose_method(chain(tmp_path, layers=2), judge=judge, pace=Pace(deadline_s=time.monotonic()))
    assert judge.files == len(choice.scores) == 1


def test_methods_that_agree_within_the_noise_are_tried_with_bias_correction_once(tmp_path: Path) -> None:
    judge = CountingJudge()
    choice = choose_method(chain(tmp_path, layers=2), judge=judge, noise=lambda _: 0.01)
    assert [scored.bias_correction for scored in choice.scores] == [False] * 4 + [True]
    assert judge.files == 5


@pytest.mark.parametrize(
    ("scores", "noise", "carried"),
    [
        ((0.90, 0.91, 0.80, 0.81), 0.02, ["entropy", "mse"]),
        ((0.90, 0.91, 0.80, 0.81), 0.2, ["entropy"]),
        ((0.90, 0.91, 0.80, 0.81), 0.001, ["entropy", "minmax", "mse", "percentile"]),
        ((0.9, 0.9, 0.9, 0.9), None, ["minmax", "entropy", "percentile", "mse"]),
    ],
)
def test_of_the_methods_that_agree_the_best_is_carried_on(
    scores: tuple[float, ...], noise: float | None, carried: list[str]
) -> None:
    methods = ("minmax", "entropy", "percentile", "mse")
    found = [MethodScore(method, False, score) for method, score in zip(methods, scores, strict=True)]  # noqa: FBT003
    assert carry_on(found, noise=None if noise is None else lambda _: noise) == carried


def test_layers_that_no_int8_model_can_hold_are_still_said_to_be_so(tmp_path: Path) -> None:
    calibrated = chain(tmp_path, layers=3)
    alone = replace(calibrated, float_nodes={calibrated.layers[1].name: "it is not finite"})
    losses = measure_losses(alone, judge=CountingJudge(), settings=SETTINGS, float_score=1.0)
    assert not losses[calibrated.layers[1].name].int8
    assert losses[calibrated.layers[0].name].int8
