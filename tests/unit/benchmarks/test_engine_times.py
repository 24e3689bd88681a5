"""Workers of the engines' benchmark, with ONNX Runtime in processes of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.child import BenchmarkError
from benchmarks.engines.agent_worker import measure_workers
from benchmarks.engines.agreement import check_answer
from benchmarks.engines.models import FLOAT, STATIC_INT8, Case, Model
from benchmarks.engines.timing import Effort, time_case
from support.model.onnx_models import write_add_model

QUICK = Effort(rounds=2, seconds=0.01)


def model(path: Path, *, precision: str = FLOAT) -> Model:
    return Model(network="adder", runtime="onnxruntime", precision=precision, path=path)


def case(folder: Path, *, adds: tuple[float, ...], expected: float) -> Case:
    """Models that each add a number of `adds` to 1, where `expected` is right."""
    image, scores = folder / "image.npy", folder / "scores.npy"
    np.save(image, np.ones((1, 1), np.float32))
    np.save(scores, np.full((1, 1), expected, np.float32))
    models = tuple(model(write_add_model(folder / f"{number}.onnx", value=value)) for number, value in enumerate(adds))
    return Case("adder", 1, image, scores, models)


def measure(folder: Path, made: Case) -> list[int]:
    rows = time_case(made, threads=1, effort=QUICK, environments=folder, say=lambda _: None)
    assert all(0 < row.fastest_round_ms <= row.p50_ms <= row.p99_ms for row in rows)
    assert all(row.fastest_round_ms <= row.slowest_round_ms for row in rows)
    assert all(0 < row.of_first_low <= row.of_first <= row.of_first_high for row in rows)
    assert rows[0].of_first_low == rows[0].of_first_high == 1
    return [row.inferences for row in rows]


def test_every_model_is_timed_in_every_round(tmp_path: Path) -> None:
    inferences = measure(tmp_path, case(tmp_path, adds=(1.0, 1.0), expected=2.0))
    assert len(inferences) == 2
    assert all(count >= 5 * QUICK.rounds for count in inferences)


@pytest.mark.slow
def test_workers_of_the_agent_tell_what_a_model_costs(tmp_path: Path) -> None:
    made = case(tmp_path, adds=(1.0, 1.0), expected=2.0)
    costs = measure_workers(made, starts=2)
    assert [cost.size_bytes for cost in costs] == [model.path.stat().st_size for model in made.models]
    assert all(0 < cost.fastest_load_ms <= cost.load_ms <= cost.slowest_load_ms for cost in costs)
    # An interpreter with ONNX Runtime, and no more.
    assert all(20e6 < cost.anonymous_bytes <= cost.resident_bytes < 150e6 for cost in costs)


def test_a_model_that_computes_something_else_is_not_timed(tmp_path: Path) -> None:
    said: list[str] = []
    wrong = case(tmp_path, adds=(1.0, 1.5), expected=2.0)
    with pytest.raises(BenchmarkError, match=r"1\.onnx: onnxruntime differs from PyTorch by 0\.25"):
        time_case(wrong, threads=1, effort=QUICK, environments=tmp_path, say=said.append)
    assert said == []


def test_a_file_that_does_not_load_is_named(tmp_path: Path) -> None:
    broken = case(tmp_path, adds=(1.0,), expected=2.0)
    broken.models[0].path.write_bytes(b"no model")
    with pytest.raises(BenchmarkError, match=r"0\.onnx: onnxruntime ended before it was ready"):
        measure(tmp_path, broken)


@pytest.mark.parametrize("answer", [np.float32("nan"), np.float32(2.01)])
def test_float_models_must_agree_closely(tmp_path: Path, answer: np.float32) -> None:
    made = case(tmp_path, adds=(1.0,), expected=2.0)
    np.save(tmp_path / "answer.npy", np.full((1, 1), answer))
    with pytest.raises(BenchmarkError, match="differs from PyTorch"):
        check_answer(made.models[0], tmp_path / "answer.npy", case=made)


def test_int8_models_may_differ_by_their_rounding(tmp_path: Path) -> None:
    made = case(tmp_path, adds=(1.0,), expected=2.0)
    np.save(tmp_path / "answer.npy", np.full((1, 1), np.float32(2.02)))
    rounded = model(made.models[0].path, precision=STATIC_INT8)
    assert check_answer(rounded, tmp_path / "answer.npy", case=made) == pytest.approx(0.01, rel=1e-3)


def test_an_answer_of_another_shape_is_refused(tmp_path: Path) -> None:
    made = case(tmp_path, adds=(1.0,), expected=2.0)
    np.save(tmp_path / "answer.npy", np.zeros((1, 2), np.float32))
    with pytest.raises(BenchmarkError, match=r"answers shape \(1, 2\), expected \(1, 1\)"):
        check_answer(made.models[0], tmp_path / "answer.npy", case=made)
