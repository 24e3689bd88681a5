"""The comparison of engines counts what their answers were checked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.child import BenchmarkError
from benchmarks.engines.counting import EngineInstructions, count_model
from benchmarks.engines.models import FLOAT, Case, Model
from benchmarks.instructions.counting import count
from benchmarks.instructions.emulator import EmulatedPi
from support.model.onnx_models import write_add_model

pytestmark = [pytest.mark.emulated, pytest.mark.slow, pytest.mark.timeout(600)]


def count_adder(pi: EmulatedPi, folder: Path, *, expected: float) -> EngineInstructions:
    """Counts a model that adds 1 to 1, where `expected` is right."""
    image, scores = folder / "image.npy", folder / "scores.npy"
    np.save(image, np.ones((1, 1), np.float32))
    np.save(scores, np.full((1, 1), expected, np.float32))
    path = write_add_model(folder / "adder.onnx")
    model = Model(network="adder", runtime="onnxruntime", precision=FLOAT, path=path)
    return count_model(model, Case("adder", 1, image, scores, (model,)), pi=pi, environments=folder)


def test_a_runtime_is_counted_as_the_agents_engine_is(pi: EmulatedPi, tmp_path: Path) -> None:
    counted = count_adder(pi, tmp_path, expected=2.0)
    assert counted.difference == 0
    assert counted.instructions == pytest.approx(
        count(tmp_path / "adder.onnx", "onnxruntime", pi=pi).instructions, rel=0.05
    )


def test_a_runtime_that_computes_something_else_is_not_counted(pi: EmulatedPi, tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="differs from PyTorch"):
        count_adder(pi, tmp_path, expected=3.0)
