from __future__ import annotations

import copy
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from drupelet_host.compiler.passes.evaluate import EvaluateConfig, EvaluatePass
from drupelet_host.compiler.passes.sparsify import SparsifyConfig, SparsifyPass
from drupelet_host.compiler.state import CompileState
from drupelet_host.export.onnx import export_onnx
from drupelet_host.pruning.sparsity import held_sparse, measure_sparsity, ramp
from drupelet_host.quantization.static import quantize_static
from drupelet_host.recipe.schema import RecoveryConfig
from drupelet_shared.package.archive import write_archive
from fakes.observer import RecordingObserver
from support.model.tiny_project import INPUT_SHAPE, calibration_feeds, start_state, trained


def started(folder: Path) -> CompileState:
    state = start_state(folder, trained().model, train=trained().train, validation=trained().validation)
    evaluate = EvaluatePass(EvaluateConfig(engines=("onnxruntime",)))
    return evaluate.run(state, observer=RecordingObserver()).state


def sparsify(state: CompileState, *, sparsity: float, max_metric_drop: float) -> tuple[CompileState, RecordingObserver]:
    config = SparsifyConfig(
        sparsity=sparsity, iterations=3, max_metric_drop=max_metric_drop, recovery=RecoveryConfig(epochs=2)
    )
    observer = RecordingObserver()
    return SparsifyPass(config, 0).run(state, observer=observer).state, observer


def test_the_smallest_weights_of_all_layers_go() -> None:
    model = copy.deepcopy(trained().model)
    before = torch.cat([model.conv1.weight.detach().flatten(), model.conv2.weight.detach().flatten()]).abs()
    with held_sparse(model, sparsity=0.5):
        pass
    after = torch.cat([model.conv1.weight.detach().flatten(), model.conv2.weight.detach().flatten()])
    assert measure_sparsity(model) == pytest.approx(0.5, abs=0.01)
    assert before[after == 0].max() < before[after != 0].min()


def test_zeros_stay_zero_while_the_block_trains() -> None:
    model = copy.deepcopy(trained().model).train()
    with held_sparse(model, sparsity=0.6):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        model(torch.from_numpy(trained().train.inputs[:32])).square().mean().backward()
        optimizer.step()
    assert measure_sparsity(model) >= 0.59


def test_the_ramp_slows_towards_its_end() -> None:
    steps = [ramp(0.8, step=step, steps=4) for step in range(5)]
    assert steps[0] == 0
    assert steps[-1] == pytest.approx(0.8)
    gains = [later - earlier for earlier, later in pairwise(steps)]
    assert gains == sorted(gains, reverse=True)


@pytest.mark.slow
def test_a_sparse_model_keeps_the_metric_and_packs_smaller(tmp_path: Path) -> None:
    state = started(tmp_path)
    sparse, _ = sparsify(state, sparsity=0.6, max_metric_drop=0.05)
    training = sparse.require_training()
    assert measure_sparsity(training.model) >= 0.59
    assert trained().evaluate(training.model) >= state.reference.metric - 0.05
    sizes = []
    for name, model in (("dense", trained().model), ("sparse", training.model)):
        export_onnx(model, INPUT_SHAPE, tmp_path / f"{name}.onnx")
        quantize_static(tmp_path / f"{name}.onnx", tmp_path / f"{name}8.onnx", calibration=calibration_feeds(32))
        write_archive(tmp_path / f"{name}.zip", {"model.onnx": tmp_path / f"{name}8.onnx"})
        sizes.append((tmp_path / f"{name}.zip").stat().st_size)
    assert sizes[1] < 0.85 * sizes[0]


@pytest.mark.slow
def test_a_step_that_cannot_be_recovered_is_taken_back(tmp_path: Path) -> None:
    state = replace(started(tmp_path))
    sparse, observer = sparsify(state, sparsity=0.999, max_metric_drop=0.0)
    assert measure_sparsity(sparse.require_training().model) < 0.999
    assert "rolled back" in observer.decisions[-1]
