"""`drupelet estimate`: the table of modelled latencies, for each kind of file, on a narrow terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from drupelet_host.export.onnx import export_onnx
from support.model.tflite_models import write_linear_tflite
from support.package.served_packages import linear_weights


def estimate(*words: str | Path) -> str:
    command = [sys.executable, "-m", "drupelet_host", "estimate", *map(str, words)]
    environment = {**os.environ, "COLUMNS": "80"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 64, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1)
    ).eval()


@pytest.fixture(scope="module", params=["onnx", "pt2"])
def file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("estimate") / f"net.{request.param}"
    if request.param == "onnx":
        export_onnx(network(), (1, 3, 64, 64), path, output_names=("output",))
    else:
        torch.export.save(torch.export.export(network(), (torch.zeros(1, 3, 64, 64),)), path)
    return path


def test_every_engine_and_precision_has_a_row_that_says_it_is_modelled(file: Path) -> None:
    text = estimate(file)
    assert "modelled for raspberry_pi_4, one thread, not measured" in text
    assert all(engine in text for engine in ("onnxruntime", "litert", "ncnn"))
    assert all(precision in text for precision in ("float32", "int8"))
    assert "conv" in text


def test_no_number_is_cut_on_80_columns(file: Path) -> None:
    text = estimate(file)
    assert "\u2026" not in text
    assert max(map(len, text.splitlines())) <= 80


def test_the_document_has_the_range_and_the_layers(file: Path) -> None:
    document = json.loads(estimate(file, "--json", "--engine", "ncnn"))
    assert {one["precision"] for one in document["estimates"]} == {"float32", "int8"}
    for one in document["estimates"]:
        assert 0 < one["low_ms"] < one["ms"] < one["high_ms"]
        assert sum(layer["ms"] for layer in one["layers"]) == pytest.approx(one["ms"], rel=0.01)


def test_a_litert_file_is_estimated_for_litert(tmp_path: Path) -> None:
    write_linear_tflite(tmp_path / "net.tflite", linear_weights())
    assert "litert" in estimate(tmp_path / "net.tflite")
