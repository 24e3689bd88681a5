from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from drupelet_host.compiler.lineage import digest_module
from drupelet_host.compiler.passes.importance import ImportanceConfig, ImportancePass
from drupelet_host.data.dataset import Dataset
from drupelet_host.errors import ModelError
from drupelet_host.evaluation.scoring import evaluate_module
from drupelet_host.pruning.importance import compare_importances, label_samples, prune_least_important
from fakes.observer import RecordingObserver
from support.model.tiny_project import INPUT_SHAPE, start_state, trained

EXAMPLE = torch.zeros(1, 16)


def misleading() -> tuple[nn.Module, Dataset]:
    """Eight hidden units that decide have small weights; eight that reach no class have large ones."""
    model = nn.Sequential(nn.Linear(16, 16, bias=False), nn.ReLU(), nn.Linear(16, 2, bias=False)).eval()
    inputs = np.random.default_rng(0).normal(0, 1, (256, 16)).astype(np.float32)
    with torch.no_grad():
        model[0].weight.copy_(torch.diag(torch.tensor([0.5] * 8 + [5.0] * 8)))
        model[2].weight.zero_()
        model[2].weight[0, :4] = 1.0
        model[2].weight[1, 4:8] = 1.0
        labels = model(torch.from_numpy(inputs)).argmax(dim=1).numpy()
    return model, Dataset(inputs, labels)


@pytest.mark.parametrize(("importance", "lowest", "highest"), [("l2", 0.0, 0.9), ("taylor", 1.0, 1.0)])
def test_taylor_keeps_the_channels_that_decide_where_magnitude_does_not(
    importance: str, lowest: float, highest: float
) -> None:
    model, data = misleading()
    prune_least_important(model, EXAMPLE, {"0": 8}, importance=importance, samples=data)
    assert lowest <= evaluate_module(model, data) <= highest


def test_pruning_leaves_no_gradients_behind() -> None:
    model, data = misleading()
    prune_least_important(model, EXAMPLE, {"0": 8}, importance="taylor", samples=data)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_taylor_prunes_beside_a_layer_that_no_output_depends_on() -> None:
    class Sums(nn.Module):
        """A path of sums whose last sum nothing reads, as in WaveNet."""

        def __init__(self) -> None:
            super().__init__()
            self.first, self.after, self.head = nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            hidden = torch.relu(self.first(x))
            x = x + self.after(hidden)
            return self.head(hidden)

    model, data = Sums(), misleading()[1]
    prune_least_important(model, EXAMPLE, {"first": 8}, importance="taylor", samples=data)
    assert model.head.in_features == 8


def test_taylor_without_samples_is_refused() -> None:
    with pytest.raises(ModelError, match="importance 'taylor' needs samples"):
        prune_least_important(misleading()[0], EXAMPLE, {"0": 8}, importance="taylor", samples=None)


def test_samples_without_labels_get_those_of_the_model() -> None:
    model, data = misleading()
    labelled = label_samples(model, Dataset(data.inputs, None))
    assert labelled.labels is not None
    assert data.labels is not None
    assert labelled.labels.tolist() == data.labels.tolist()


def test_a_comparison_leaves_the_model_as_it_is() -> None:
    tiny = trained()
    before = digest_module(tiny.model)
    found = compare_importances(
        tiny.model, tiny.train, tiny.evaluate, ratio=0.5, candidates=("l2", "taylor"), channel_multiple=4
    )
    assert set(found) == {"l2", "taylor"}
    assert digest_module(tiny.model) == before


def run_pass(model: nn.Module, data: Dataset, importance: str) -> tuple[str, dict[str, float], RecordingObserver]:
    observer = RecordingObserver()
    config = ImportanceConfig(importance=importance, ratio=0.5, samples=512, channel_multiple=8)
    state = start_state(Path(), model, train=data, validation=data)
    result = ImportancePass(config, 0).run(state, observer=observer)
    return result.state.importance, dict(result.metrics), observer


def test_the_importance_that_keeps_more_is_chosen_and_recorded() -> None:
    chosen, metrics, observer = run_pass(*misleading(), "auto")
    assert chosen == "taylor"
    assert metrics["metric.taylor"] == 1.0 > metrics["metric.l2"]
    assert metrics["chosen.taylor"] == 1.0
    assert observer.decisions[-1].endswith("chose taylor")


def test_a_tie_goes_to_magnitude() -> None:
    model, data = misleading()
    with torch.no_grad():
        model[0].weight.copy_(torch.diag(torch.tensor([5.0] * 8 + [0.1] * 8)))
    assert run_pass(model, data, "auto")[0] == "l2"


def test_an_importance_that_the_recipe_names_is_not_compared() -> None:
    assert run_pass(*misleading(), "l1")[:2] == ("l1", {})


def test_taylor_prunes_a_trained_network() -> None:
    tiny = trained()
    model = copy.deepcopy(tiny.model).requires_grad_(requires_grad=True)
    example = torch.zeros(INPUT_SHAPE)
    prune_least_important(model, example, {"conv1": 16}, importance="taylor", samples=tiny.train)
    assert model(example).shape == (1, 4)
    assert model.get_submodule("conv1").weight.shape[0] == 16
