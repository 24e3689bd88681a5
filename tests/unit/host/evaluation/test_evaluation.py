from __future__ import annotations

import platform
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from drupelet_host.data.dataset import Dataset
from drupelet_host.errors import DataError
from drupelet_host.evaluation.cost import count_macs, count_parameters
from drupelet_host.evaluation.scoring import evaluate_module
from drupelet_host.latency.machine import describe_machine
from drupelet_host.latency.workstation import BRIEF, compare_latency
from drupelet_shared.engines.registry import load_engine
from support.model.onnx_models import write_add_model, write_expanding_model
from support.model.tiny_project import trained


def test_macs_are_those_of_the_textbook() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Flatten(), nn.Linear(8 * 16, 10))
    assert count_macs(model, torch.zeros(1, 3, 4, 4)) == 4 * 4 * 8 * 3 * 9 + 128 * 10
    assert count_parameters(model) == 8 * 3 * 9 + 8 + 128 * 10 + 10


class Queries(nn.Module):
    """Hands a parameter of its own to a layer, as detection transformers do."""

    def __init__(self) -> None:
        super().__init__()
        self.queries, self.layer = nn.Parameter(torch.zeros(5, 8)), nn.Linear(8, 10)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.layer(self.queries.expand(inputs.shape[0], -1, -1)) + inputs


def test_the_macs_of_a_layer_that_takes_a_parameter_are_counted_and_it_stays_trainable() -> None:
    model = Queries()
    assert count_macs(model, torch.zeros(1, 5, 10)) == 5 * 8 * 10
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_the_metric_is_the_fraction_that_is_right() -> None:
    validation = trained().validation
    assert validation.labels is not None
    shifted = Dataset(validation.inputs, (validation.labels + 1) % 4)
    assert trained().evaluate(trained().model) > 0.9
    assert evaluate_module(trained().model, shifted) < 0.1


def test_the_metric_needs_labels() -> None:
    with pytest.raises(DataError, match="top1 needs labels"):
        evaluate_module(trained().model, Dataset(trained().validation.inputs, None))


def test_models_timed_in_turns_show_which_is_slower(tmp_path: Path) -> None:
    engine = load_engine("onnxruntime")
    sessions = {
        "fast": engine.load(write_add_model(tmp_path / "fast.onnx"), threads=1),
        "slow": engine.load(write_expanding_model(tmp_path / "slow.onnx", count=500_000), threads=1),
    }
    timings = compare_latency(sessions, {"input": np.ones((1, 1), np.float32)}, budget=BRIEF)
    assert timings["slow"].p50_ms > 5 * timings["fast"].p50_ms
    assert timings["slow"].p50_ms <= timings["slow"].p99_ms


def test_the_machine_is_named_with_its_architecture() -> None:
    assert describe_machine().endswith(f"({platform.machine()})")
