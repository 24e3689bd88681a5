from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from drupelet_host.compiler.lineage import digest_module
from drupelet_host.data.dataset import Dataset
from drupelet_host.errors import ModelError
from drupelet_host.evaluation.cost import count_macs
from drupelet_host.pruning.structure.groups import remove_channels
from drupelet_host.recipe.schema import RecoveryConfig
from drupelet_host.training.distillation import imitation_loss, weigh_errors
from drupelet_host.training.recovery import TrainingData, count_passes, prepare_training_data, recover
from support.model.tiny_project import INPUT_SHAPE, trained


class TwoHeads(nn.Module):
    """A picture and a number for each image, as a detector gives boxes and scores."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 3, padding=1)
        self.picture = nn.Conv2d(16, 1, 1)
        self.number = nn.Linear(16, 1)

    def forward(self, inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        hidden = torch.relu(self.stem(inputs))
        return {"picture": self.picture(hidden), "number": self.number(hidden.mean(dim=(2, 3)))}


class Viewing(nn.Module):
    """Reshapes with `view`, which refuses a tensor whose channels lie last."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.classifier = nn.Conv2d(1, 8, 3), nn.Linear(8 * 36, 4)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.layer(inputs).view(len(inputs), -1))


def images(count: int = 128) -> Dataset:
    return Dataset(np.random.default_rng(0).normal(0, 1, (count, 1, 8, 8)).astype(np.float32), None)


def half(model: nn.Module, group: str) -> nn.Module:
    pruned = copy.deepcopy(model).requires_grad_(requires_grad=True)
    channels = pruned.get_submodule(group).weight.shape[0]
    remove_channels(pruned, torch.zeros(INPUT_SHAPE), {group: channels // 2}, importance="l2")
    return pruned


def nearness(training_data: TrainingData) -> Callable[[nn.Module], float]:
    """The negative distance to the original's outputs."""

    def evaluate(model: nn.Module) -> float:
        with torch.no_grad():
            found = model.eval()(training_data.samples.inputs)
        return -float(
            imitation_loss(found, teacher=training_data.samples.answers, labels=None, temperature=1, weight=1)
        )

    return evaluate


def run(
    model: nn.Module, training_data: TrainingData, evaluate: Callable[[nn.Module], float], *, passes: int = 2
) -> list[float]:
    told: list[float] = []
    config = RecoveryConfig(learning_rate=1e-2)
    recover(
        model,
        training_data,
        evaluate,
        config=config,
        seed=0,
        enough=math.inf,
        passes=passes,
        on_epoch=lambda _, metric: told.append(metric),
    )
    return told


def test_a_model_with_several_outputs_learns_all_of_them_from_the_original() -> None:
    torch.manual_seed(0)
    original = TwoHeads().eval()
    training_data = prepare_training_data(original, images())
    pruned = half(original, "stem")
    before = nearness(training_data)(pruned)
    run(pruned, training_data, nearness(training_data), passes=20)
    assert nearness(training_data)(pruned) > before / 4


def test_outputs_without_fractions_teach_nothing() -> None:
    counts = {"classes": torch.zeros(4, 3, dtype=torch.int64)}
    with pytest.raises(ModelError, match="expected at least one of floating-point numbers"):
        imitation_loss({**counts, "more": counts["classes"]}, teacher=counts, labels=None, temperature=1, weight=1)


def test_a_model_whose_views_need_the_usual_layout_is_recovered_in_it() -> None:
    torch.manual_seed(0)
    model = Viewing()
    assert len(run(model, prepare_training_data(model, images()), lambda _: 0.0)) == 2
    assert model(torch.zeros(2, 1, 8, 8)).shape == (2, 4)


def test_recovery_leaves_the_weights_in_the_usual_layout() -> None:
    model = half(trained().model, "conv1")
    run(model, prepare_training_data(copy.deepcopy(trained().model), trained().train), trained().evaluate)
    assert all(parameter.is_contiguous() for parameter in model.parameters())


def test_the_best_state_is_kept_even_if_it_is_the_first() -> None:
    falling = iter([1.0, 0.5, 0.4])
    model = half(trained().model, "conv1")
    training_data = prepare_training_data(copy.deepcopy(trained().model), trained().train)
    untouched = copy.deepcopy(model)
    recover(
        untouched,
        training_data,
        lambda _: 1.0,
        config=RecoveryConfig(),
        seed=0,
        enough=1.0,
        passes=2,
        on_epoch=lambda _e, _m: None,
    )
    assert run(model, training_data, lambda _: next(falling)) == [0.5, 0.4]
    assert digest_module(model) == digest_module(untouched)


def test_a_cheaper_model_may_learn_for_longer() -> None:
    original = trained().model
    training_data = prepare_training_data(copy.deepcopy(original), trained().train)
    config = RecoveryConfig(epochs=10)
    pruned = half(original, "conv1")
    gain = count_macs(original, torch.zeros(INPUT_SHAPE)) / count_macs(pruned, torch.zeros(INPUT_SHAPE))
    assert gain > 1.5
    assert count_passes(original, training_data, config) == 10
    assert count_passes(pruned, training_data, config) == round(10 * math.sqrt(gain))
    assert count_passes(pruned, TrainingData(training_data.samples, training_data.macs * 10**6), config) == 80
    assert count_passes(pruned, training_data, RecoveryConfig(epochs=0)) == 0


def test_scores_beside_boxes_weigh_as_much_in_the_loss_as_the_boxes() -> None:
    generator = torch.Generator().manual_seed(0)
    boxes, scores = 300 * torch.rand(64, 4, 10, generator=generator), torch.rand(64, 3, 10, generator=generator)
    merged = torch.cat([boxes, scores], dim=1)
    weights = weigh_errors({"merged": merged})
    means = [[boxes.mean().expand_as(boxes), scores], [boxes, scores.mean().expand_as(scores)]]
    settings: dict[str, Any] = {"labels": None, "temperature": 1, "weight": 1, "error_weights": weights}
    losses = [
        imitation_loss({"merged": torch.cat(wrong, 1)}, teacher={"merged": merged}, **settings) for wrong in means
    ]
    # An answer that knows nothing of one group has lost half, whichever group it is.
    assert [loss.item() for loss in losses] == pytest.approx([0.5, 0.5], abs=0.02)


def test_an_output_whose_channels_are_alike_has_no_weights() -> None:
    assert weigh_errors({"scores": torch.rand(32, 5, 10), "classes": torch.zeros(32, 5, dtype=torch.int64)}) == {}
