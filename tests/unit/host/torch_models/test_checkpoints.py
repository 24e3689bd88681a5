"""A weights file of another form is refused with the one sentence that helps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from drupelet_host.errors import ModelError
from drupelet_host.recipe.factories import FactoryRef
from drupelet_host.recipe.model import ModelSection
from drupelet_host.torch_models.loading import check_runs, load_model, load_weights
from drupelet_shared.tensors import Datatype, TensorSpec


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))


@pytest.mark.parametrize(
    ("wrap", "message"),
    [
        (
            lambda state: {"epoch": 3, "state_dict": state},
            r"under 'state_dict'; save that alone: torch\.save\(checkpoint\['state_dict'\]",
        ),
        (lambda state: {"model": state, "optimizer": {}}, "under 'model'; save that alone"),
        (
            lambda state: {f"module.{name}": value for name, value in state.items()},
            r"starts with 'module\.', which nn\.DataParallel adds",
        ),
        (lambda state: {f"_orig_mod.{name}": value for name, value in state.items()}, r"which torch\.compile adds"),
        (lambda state: list(state.values()), "holds a list: expected a state_dict"),
        (lambda state: {"0.weight": state["0.weight"]}, r"do not fit the model: [\s\S]*Missing key"),
    ],
)
def test_a_checkpoint_is_refused_with_what_to_save(
    tmp_path: Path, wrap: Callable[[dict[str, torch.Tensor]], object], message: str
) -> None:
    torch.save(wrap(network().state_dict()), tmp_path / "weights.pt")
    with pytest.raises(ModelError, match=message):
        load_weights(network(), tmp_path / "weights.pt")


def test_a_pickled_model_is_refused_with_what_to_save(tmp_path: Path) -> None:
    torch.save(network(), tmp_path / "model.pt")
    with pytest.raises(ModelError, match=r"whole pickled model .*torch\.save\(model\.state_dict\(\)"):
        load_weights(network(), tmp_path / "model.pt")


LAZY = """from torch import nn


def network():
    return nn.Sequential(nn.LazyLinear(4), nn.ReLU(), nn.Linear(4, 2))
"""


def test_lazy_layers_take_saved_weights_and_are_refused_without(tmp_path: Path) -> None:
    (tmp_path / "lazy.py").write_text(LAZY, encoding="utf-8")
    torch.save(network().state_dict(), tmp_path / "weights.pt")
    document = {"name": "lazy", "version": "1", "release": 1, "task": "any", "input_shape": [1, 4]}
    section = ModelSection(**document, factory=FactoryRef("lazy", "network", tmp_path / "lazy.py"))
    with pytest.raises(ModelError, match=r"0\.weight, 0\.bias of lazy layers have no values yet: run the module once"):
        load_model(section)
    loaded = load_model(section.model_copy(update={"weights": tmp_path / "weights.pt"}))
    assert loaded(torch.zeros(1, 4)).shape == (1, 2)


def test_a_module_that_fails_is_named_with_its_line() -> None:
    class Broken(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ torch.zeros(3, 3)

    with pytest.raises(ModelError, match=r"\(test_checkpoints\.py, line \d+, in forward\)"):
        check_runs(Broken(), [TensorSpec(name="input", datatype=Datatype.FP32, shape=(1, 4))])
