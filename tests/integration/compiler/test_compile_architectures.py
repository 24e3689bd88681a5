"""Networks of each common structure, compiled from evaluation to package."""

from __future__ import annotations

from pathlib import Path

import pytest

from drupelet_host.recipe.schema import Recipe
from support.model.architecture_project import architecture_recipe, write_architecture
from support.model.architectures import ARCHITECTURES
from support.model.compiled import Compiled, compile_and_verify

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
# Halving networks this small in one step costs a lot; what is shown is that they still work.
LOOSE = 0.3
CLASSIFIERS = ["resnet", "mobilenet", "densenet", "inception", "vit", "lstm", "gru", "signal"]


def compile_architecture(folder: Path, wanted: Recipe) -> Compiled:
    compiled = compile_and_verify(wanted, folder / "unpacked")
    state = compiled.state
    assert state.cost is not None
    assert state.original_cost is not None
    assert state.cost.parameters < 0.9 * state.original_cost.parameters
    assert state.pruning is not None
    assert any(step.kept for step in state.pruning.steps)
    best = state.measurements[state.ranking[0]]
    assert best.metric >= state.reference.metric - LOOSE
    assert best.size_bytes < state.reference.size_bytes
    return compiled


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_is_halved_quantized_and_packed(tmp_path: Path, name: str) -> None:
    folder = write_architecture(tmp_path / "project", name)
    compiled = compile_architecture(tmp_path, architecture_recipe(folder, name, max_metric_drop=LOOSE))
    assert compiled.state.metric.name == "top1"
    assert compiled.state.reference.metric > 0.9
    assert compiled.manifest.inputs[0].shape == ARCHITECTURES[name].input_shape
    assert "ort-static-wi8-ai8" in compiled.state.measurements


@pytest.mark.parametrize("name", ["detector", "detector-named"])
def test_a_detector_with_several_outputs_is_pruned_without_labels(tmp_path: Path, name: str) -> None:
    folder = write_architecture(tmp_path / "project", name)
    given = {"outputs": ["boxes", "scores", "image"]} if name == "detector" else {}
    wanted = architecture_recipe(folder, name, max_metric_drop=1.0, task="detection", **given)
    compiled = compile_and_verify(wanted, tmp_path / "unpacked")
    state = compiled.state
    assert [spec.name for spec in compiled.manifest.outputs] == ["boxes", "scores", "image"]
    assert state.metric.name == "fidelity"
    assert state.reference.metric == pytest.approx(1.0, abs=1e-5)
    assert state.cost is not None
    assert state.original_cost is not None
    assert state.cost.parameters < 0.9 * state.original_cost.parameters
    assert compiled.manifest.postprocessing is None
