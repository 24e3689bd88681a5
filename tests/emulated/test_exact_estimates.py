"""`drupelet estimate --exact` runs a file in the timing model, and the table agrees with it within its own error."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.instructions.emulator import EmulatedPi
from benchmarks.latency_model.networks import Builder
from benchmarks.latency_model.write_onnx import write_onnx
from drupelet_host.cli.estimate import estimate as estimate_command
from drupelet_host.estimation.model_files import estimate_file
from drupelet_host.latency.modelled.source import TableSource
from drupelet_host.latency.modelled.table import load_table
from drupelet_host.quantization.dynamic import quantize_dynamic

pytestmark = [pytest.mark.emulated, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    builder = Builder((3, 32, 32))
    builder.conv(32, 3, 2)
    builder.conv(64)
    builder.conv(64, 3, 2)
    builder.pool("global_pool")
    builder.linear(256)
    builder.linear(10)
    write_onnx(builder.network(), tmp_path / "model.onnx", int8=False)
    return tmp_path / "model.onnx"


def test_an_exact_estimate_is_the_timing_model_s_and_near_the_table_s(pi: EmulatedPi, model: Path) -> None:
    result = CliRunner().invoke(
        estimate_command, [str(model), "--engine", "onnxruntime", "--exact", str(pi.folder), "--json"]
    )
    assert result.exit_code == 0, result.output
    (exact,) = json.loads(result.stdout)["estimates"]
    table = load_table("raspberry_pi_4")
    assert table is not None
    looked_up = next(
        one for one in estimate_file(model, target=table.target, engines=("onnxruntime",)) if one.precision == "float32"
    )
    accuracy = table.accuracies["onnxruntime", "float32"]
    assert looked_up.ms == pytest.approx(exact["ms"], rel=2 * accuracy.table_error)
    # The range is the timing model's own; the table's error is gone.
    assert exact["high_ms"] == pytest.approx(exact["ms"] * (1 + accuracy.model_error), rel=1e-3)
    assert exact["layers"] == []


def test_dynamic_int8_takes_what_the_table_says_of_its_layers(pi: EmulatedPi, model: Path, tmp_path: Path) -> None:
    dynamic, table = tmp_path / "dynamic.onnx", load_table("raspberry_pi_4")
    assert table is not None
    quantize_dynamic(model, dynamic)
    (exact,) = estimate_file(dynamic, target=table.target, engines=("onnxruntime",), emulator=pi.folder)
    assert exact.precision == "mixed"
    looked_up = TableSource(table).measure({"model": dynamic}, feed={})["model"]
    assert not isinstance(looked_up, Exception)
    assert looked_up.interval.low_ms < exact.ms < looked_up.interval.high_ms
