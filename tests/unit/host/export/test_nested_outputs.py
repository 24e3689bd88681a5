"""Modules that return nests of tensors, exported to ONNX."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import nn

from drupelet_host.export.onnx import export_onnx
from drupelet_host.torch_models.outputs import name_outputs
from drupelet_shared.engines.registry import load_engine


@dataclass
class Answer:
    logits: torch.Tensor
    aux: object
    loss: torch.Tensor | None = None


class Moments(NamedTuple):
    mean: torch.Tensor
    scale: torch.Tensor


class Nest(nn.Module):
    """Returns its tensors in one of several kinds of containers."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.features, self.head = nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, inputs: torch.Tensor) -> object:
        features = self.features(inputs).relu()
        scores, mean = self.head(features), features.mean(1, keepdim=True)
        nests = {
            "dictionary": {"scores": scores, "aux": {"maps": [features, mean]}},
            "tuple": (scores, (features, mean), None),
            "data class": Answer(scores, {"features": features, "mean": mean}),
            "named tuple": Moments(mean, scores),
            "ordered": OrderedDict(scores=scores, aux=OrderedDict(features=features)),
        }
        return nests[self.kind]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("dictionary", ["scores", "aux.maps.0", "aux.maps.1"]),
        ("tuple", ["output_0", "output_1.0", "output_1.1"]),
        ("data class", ["logits", "aux.features", "aux.mean"]),
        ("named tuple", ["mean", "scale"]),
        ("ordered", ["scores", "aux.features"]),
    ],
)
def test_a_nest_of_tensors_becomes_named_outputs_of_the_file(tmp_path: Path, kind: str, names: list[str]) -> None:
    torch.manual_seed(0)
    model = Nest(kind).eval()
    inputs = torch.randn(3, 4)
    assert list(name_outputs(model(inputs))) == names
    # The export compares every output with PyTorch's.
    export_onnx(model, inputs, tmp_path / "nest.onnx", output_names=names)
    session = load_engine("onnxruntime").load(tmp_path / "nest.onnx", threads=1)
    assert [spec.name for spec in session.outputs] == names


class Anchored(nn.Module):
    """Returns a buffer under its own name."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 3)
        self.register_buffer("anchors", torch.rand(1, 6))

    def forward(self, inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"scores": self.head(inputs), "anchors": self.anchors.expand(inputs.shape[0], -1)}


@pytest.mark.slow
def test_an_output_may_have_the_name_of_a_weight(tmp_path: Path) -> None:
    path = tmp_path / "anchored.onnx"
    export_onnx(Anchored().eval(), torch.randn(3, 4), path, output_names=["scores", "anchors"])
    session = load_engine("onnxruntime").load(path, threads=1)
    assert [spec.name for spec in session.outputs] == ["scores", "anchors"]
