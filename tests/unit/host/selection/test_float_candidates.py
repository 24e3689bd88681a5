"""A candidate that cannot be quantized is judged in float alone, and does not end the search."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from drupelet_host.data.samples import Samples
from drupelet_host.evaluation.measure import measure_models
from drupelet_host.evaluation.metrics import Fidelity
from drupelet_host.evaluation.scoring import answer_session
from drupelet_host.export.onnx import export_onnx
from drupelet_host.latency.workstation import BRIEF, WorkstationSource
from drupelet_host.recipe.schema import Constraints
from drupelet_host.selection.judge import CandidateJudge
from drupelet_shared.engines.registry import load_engine

SHAPE = (1, 4, 8, 8)


@pytest.mark.slow
def test_a_model_without_a_layer_for_int8_is_judged_in_float(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.ConvTranspose2d(4, 8, 2, 2, groups=4), nn.Sigmoid())
    path = tmp_path / "original.onnx"
    export_onnx(model, SHAPE, path)
    feeds = [{"input": np.random.default_rng(seed).random(SHAPE, np.float32)} for seed in range(4)]
    samples = Samples(feeds, answers=answer_session(load_engine("onnxruntime").load(path, threads=1), feeds))
    judge = CandidateJudge(
        originals={"onnxruntime": path},
        references={"onnxruntime": measure_models({"o": path}, samples, Fidelity(), budget=BRIEF, memory=False)["o"]},
        constraints=Constraints(),
        samples=samples,
        latency_source=WorkstationSource(),
        metric=Fidelity(),
        calibration=Samples(feeds),
        method="minmax",
        example=SHAPE,
        output_names=("output",),
    )
    result = judge(model)
    assert set(result.measurements) == {"ort-fp32"}
    assert result.measurements["ort-fp32"].metric > 0.999
