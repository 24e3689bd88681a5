from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from drupelet_host.compiler.configuration import JudgeConfig
from drupelet_host.compiler.passes.evaluate import EvaluateConfig, EvaluatePass
from drupelet_host.compiler.passes.quantize_aware import QuantizeAwareConfig, QuantizeAwarePass
from drupelet_host.compiler.state import CompileState
from drupelet_host.recipe.schema import Constraints, RecoveryConfig
from drupelet_host.torch_models.inputs import make_tensors
from drupelet_host.training.fake_quantization import fake_quantized
from fakes.observer import RecordingObserver
from support.model.tiny_project import start_state, trained


def uneven() -> nn.Module:
    """Computes what the trained net computes, but one channel's activations dwarf the others' and take all of int8."""
    model = copy.deepcopy(trained().model)
    with torch.no_grad():
        # The channel lies between two convolutions alone, so that it can be scaled up and down again.
        model.norm1.weight[0] *= 2000
        model.norm1.bias[0] *= 2000
        model.conv2.weight[:, 0] /= 2000
    return model.eval()


def test_inside_the_block_a_module_computes_with_rounded_numbers_and_afterwards_as_before() -> None:
    model, inputs = copy.deepcopy(trained().model), make_tensors(trained().train.first(8))
    before = model(inputs)
    with fake_quantized(model, inputs):
        inside = model(inputs)
        layer = model.conv1.weight
        steps = layer / (layer.abs().amax(dim=(1, 2, 3), keepdim=True) / 127)
        assert torch.allclose(steps, steps.round(), atol=1e-3)
    difference = (inside - before).abs().max() / before.abs().max()
    assert 1e-5 < difference < 0.2
    assert torch.equal(model(inputs), before)
    assert set(model.state_dict()) == set(trained().model.state_dict())


def test_layers_in_float16_are_not_rounded() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8).half())

    class Halves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = model

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layers[1](self.layers[0](x).half()).float()

    with fake_quantized(Halves(), torch.randn(4, 8)):
        assert [nn.utils.parametrize.is_parametrized(layer) for layer in model] == [True, False]


def test_an_error_inside_the_block_leaves_a_plain_module() -> None:
    model = copy.deepcopy(trained().model)
    with pytest.raises(ZeroDivisionError), fake_quantized(model, make_tensors(trained().train.inputs)):
        raise ZeroDivisionError
    assert set(model.state_dict()) == set(trained().model.state_dict())


def started(folder: Path, model: nn.Module) -> CompileState:
    state = start_state(folder, model, train=trained().train, validation=trained().validation)
    state = replace(state, calibration=state.calibration.subset(64, seed=0))
    evaluate = EvaluatePass(EvaluateConfig(engines=("onnxruntime",)))
    return evaluate.run(state, observer=RecordingObserver()).state


def aware_pass(limit: float) -> QuantizeAwarePass:
    return QuantizeAwarePass(
        config=QuantizeAwareConfig(
            judge=JudgeConfig(constraints=Constraints(max_metric_drop=limit), method="minmax", samples=64),
            max_metric_drop=limit,
            recovery=RecoveryConfig(epochs=6, learning_rate=5e-3),
        ),
        seed=0,
    )


@pytest.mark.slow
def test_a_model_that_int8_breaks_learns_to_bear_it(tmp_path: Path) -> None:
    state = started(tmp_path, uneven())
    observer = RecordingObserver()
    result = aware_pass(0.02).run(state, observer=observer)
    assert result.metrics["before"] < state.reference.metric - 0.02
    assert result.metrics["after"] > result.metrics["before"]
    assert result.state.require_training().model is not state.require_training().model
    assert "trained with rounding" in observer.decisions[-1]


@pytest.mark.slow
def test_a_model_that_bears_int8_is_not_trained(tmp_path: Path) -> None:
    state = started(tmp_path, trained().model)
    observer = RecordingObserver()
    result = aware_pass(0.05).run(state, observer=observer)
    assert result.state.require_training().model is state.require_training().model
    assert "no quantization-aware training" in observer.decisions[-1]
