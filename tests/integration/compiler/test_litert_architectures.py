"""Networks of each common structure, converted for LiteRT and quantized there."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from drupelet_host.data.samples import split_rows
from drupelet_host.evaluation.metrics import Fidelity
from drupelet_host.evaluation.scoring import answer_module, answer_session
from drupelet_host.export.litert import export_litert, quantize_litert
from drupelet_host.torch_models.outputs import name_outputs
from drupelet_shared.engines.registry import load_engine
from support.model.architecture_project import draw_patterns
from support.model.architectures import ARCHITECTURES

INSTALLED = importlib.util.find_spec("litert_torch") is not None
pytestmark = [
    pytest.mark.skipif(not INSTALLED, reason="litert-torch is not installed: make test-litert"),
    pytest.mark.slow,
    pytest.mark.timeout(900),
]
CONVERTED = ["resnet", "mobilenet", "densenet", "inception", "vit", "signal", "detector-named"]


@pytest.mark.parametrize("name", CONVERTED)
def test_an_architecture_answers_in_litert_as_in_pytorch(tmp_path: Path, name: str) -> None:
    architecture = ARCHITECTURES[name]
    model, shape = architecture.build(), architecture.input_shape
    inputs, _ = draw_patterns(24, shape[1:], seed=5)
    names = list(name_outputs(model(torch.from_numpy(inputs[:1]))))
    # The export compares the numbers with PyTorch's.
    export_litert(model, shape, tmp_path / "float.tflite", output_names=names)
    quantize_litert(
        tmp_path / "float.tflite",
        tmp_path / "int8.tflite",
        calibration=[{"input": sample[None]} for sample in inputs[:16]],
    )
    expected = split_rows(answer_module(model, inputs, names=names), count=len(inputs))
    session = load_engine("litert").load(tmp_path / "int8.tflite", threads=1)
    # LiteRT lists outputs by name, whatever order the module has.
    assert {spec.name for spec in session.outputs} == set(names)
    answers = answer_session(session, split_rows({"input": inputs}, count=len(inputs)))
    assert Fidelity().score(answers, labels=None, expected=expected) > 0.8
    assert (tmp_path / "int8.tflite").stat().st_size < (tmp_path / "float.tflite").stat().st_size
