"""Networks with layers that cannot be pruned, or with none: what was asked is done, or refused before the work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from drupelet import compile_recipe
from drupelet_host.errors import ModelError
from drupelet_host.recipe.schema import Recipe, parse_recipe
from fakes.observer import RecordingObserver
from support.model.compiled import compile_and_verify

NETWORKS = """
import torch
from torch import nn


class Bare(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(8, 32))

    def forward(self, x):
        return x @ self.weight


class Step(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell, self.head = nn.GRUCell(4, 16), nn.Linear(16, 3)

    def forward(self, x):
        state = torch.zeros(x.shape[0], 16)
        for part in x.split(4, dim=1):
            state = self.cell(part, state)
        return self.head(state)


class HalfStem(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.middle, self.head = nn.Linear(8, 32).half(), nn.Linear(32, 32), nn.Linear(32, 3)

    def forward(self, x):
        return self.head(torch.relu(self.middle(torch.relu(self.stem(x.half()).float()))))


def build(network):
    torch.manual_seed(0)
    return network()


def bare():
    return build(Bare)


def step():
    return build(Step)


def half():
    return build(HalfStem)


def train():
    return torch.randn(64, 8, generator=torch.Generator().manual_seed(1))


def validation():
    return torch.randn(32, 8, generator=torch.Generator().manual_seed(2))
"""


def recipe(folder: Path, network: str, **sections: Any) -> Recipe:  # noqa: ANN401 - sections of a recipe
    (folder / "all.py").write_text(NETWORKS, encoding="utf-8")
    model = {"name": "odd", "version": "1", "release": 1, "task": "odd", "input_shape": [1, 8]}
    document = {
        "model": {**model, "factory": f"all.py:{network}"},
        "data": {"train": "all.py:train", "validation": "all.py:validation"},
        "quantize": {"method": "minmax", "variants": ["float16"]},
        "output": {"folder": "out"},
        **sections,
    }
    return parse_recipe(document, folder=folder)


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        ("bare", r"the model has no convolution, linear or recurrent layer\. Leave prune_ratio out"),
        ("step", r"no layer of the model can lose channels:\n  - head: its channels are the model's output\nLeave"),
    ],
)
def test_a_ratio_that_no_layer_can_be_pruned_to_is_refused_before_the_work(
    tmp_path: Path, network: str, reason: str
) -> None:
    observer = RecordingObserver()
    with pytest.raises(ModelError, match=rf"prune\.prune_ratio = 0\.4 cannot be done: {reason}"):
        compile_recipe(recipe(tmp_path, network, prune={"prune_ratio": 0.4}), observer=observer)
    assert observer.passes == []


def test_a_network_without_layers_compiles_unpruned(tmp_path: Path) -> None:
    compiled = compile_and_verify(recipe(tmp_path, "bare"), tmp_path / "unpacked")
    assert "ort-fp32" in compiled.state.measurements


def test_a_network_with_a_layer_in_float16_is_pruned_and_becomes_int8(tmp_path: Path) -> None:
    asked = {
        "prune": {"prune_ratio": 0.5, "iterations": 1, "recovery": {"epochs": 1}},
        "quantize": {"method": "minmax", "variants": ["static"]},
        "constraints": {"metric_floor": 0.0},
    }
    compiled = compile_and_verify(recipe(tmp_path, "half", **asked), tmp_path / "unpacked")
    assert compiled.state.pruning is not None
    assert all(after < before for before, after in compiled.state.pruning.channels.values())
    assert "ort-static-wi8-ai8" in compiled.state.measurements
