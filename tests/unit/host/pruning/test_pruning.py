from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from drupelet_host.compiler.lineage import digest_module
from drupelet_host.errors import ModelError
from drupelet_host.pruning.ratio.allocation import allocate_ratios
from drupelet_host.pruning.ratio.policy import layer_factors
from drupelet_host.pruning.sensitivity import SensitivityCurve
from drupelet_host.pruning.structure.groups import PrunableGroup, find_groups, remove_channels
from drupelet_host.pruning.widths import channels_to_keep
from support.model.tiny_project import INPUT_SHAPE, trained

EXAMPLE = torch.zeros(INPUT_SHAPE)


class Grouped(nn.Module):
    """A grouped convolution, a depthwise one and a concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 3, padding=1)
        self.grouped = nn.Conv2d(16, 16, 3, padding=1, groups=4)
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.left, self.right = nn.Conv2d(16, 16, 1), nn.Conv2d(16, 24, 1)
        self.classifier = nn.Linear(40, 4)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        hidden = self.depthwise(self.grouped(self.stem(inputs)))
        both = torch.cat([self.left(hidden), self.right(hidden)], dim=1)
        return self.classifier(both.mean(dim=(2, 3)))


def test_the_residual_sum_is_one_group_and_the_classifier_is_none() -> None:
    groups = {group.name: group for group in find_groups(trained().model, EXAMPLE)}
    assert "classifier" not in groups
    assert sorted(group.channels for group in groups.values()) == [16, 32]
    residual = next(group for group in groups.values() if group.channels == 16)
    assert {"stem", "conv2", "classifier"} <= set(residual.members)
    assert residual.role == "first"


def test_finding_groups_leaves_the_model_as_it_is() -> None:
    model = copy.deepcopy(trained().model).train()
    before = digest_module(model)
    find_groups(model, EXAMPLE)
    assert digest_module(model) == before
    assert model.training


def test_removed_channels_are_gone_from_every_member() -> None:
    model = copy.deepcopy(trained().model)
    groups = find_groups(model, EXAMPLE)
    remove_channels(model, EXAMPLE, {group.name: group.channels // 2 for group in groups}, importance="l1")
    widths = {name: getattr(model, name).weight.shape[:2] for name in ("stem", "conv1", "conv2", "classifier")}
    assert widths == {"stem": (8, 1), "conv1": (16, 8), "conv2": (8, 16), "classifier": (4, 8)}
    assert model(torch.zeros(3, *INPUT_SHAPE[1:])).shape == (3, 4)


def test_the_least_important_channels_go_first() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[5.0] * 4, [0.1] * 4, [3.0] * 4]))
        model[2].weight.fill_(1.0)
    remove_channels(model, torch.zeros(1, 4), {"0": 1}, importance="l2")
    assert model[0].weight[:, 0].tolist() == [5.0, 3.0]


def test_every_group_of_a_convolution_loses_as_many_channels() -> None:
    model = Grouped().eval()
    groups = {group.name: group for group in find_groups(model, EXAMPLE)}
    assert {name: (group.multiple, group.minimum) for name, group in groups.items()} == {
        "left": (1, 1),
        "right": (1, 1),
        "grouped": (4, 8),
        "stem": (4, 4),
    }
    remove_channels(model, EXAMPLE, {"left": 3, "right": 5, "depthwise": 8, "stem": 4}, importance="l2")
    assert (model.grouped.in_channels, model.grouped.out_channels, model.grouped.groups) == (12, 8, 4)
    assert model.grouped.weight.shape == (8, 3, 3, 3)
    assert model(EXAMPLE).shape == (1, 4)


def test_a_number_of_channels_that_does_not_fit_the_groups_is_refused_and_nothing_is_removed() -> None:
    model = Grouped().eval()
    before = digest_module(model)
    with pytest.raises(ModelError, match="group 'stem' has 16 channels: 6 of them cannot be removed, only a multiple"):
        remove_channels(model, EXAMPLE, {"left": 4, "stem": 6}, importance="l2")
    with pytest.raises(ModelError, match="12 of them cannot be removed, only a multiple of 4, and 8 must stay"):
        remove_channels(model, EXAMPLE, {"depthwise": 12}, importance="l2")
    assert digest_module(model) == before


def test_a_group_cannot_lose_all_its_channels() -> None:
    with pytest.raises(ModelError, match="has 32 channels: 32 of them cannot be removed"):
        remove_channels(copy.deepcopy(trained().model), EXAMPLE, {"conv1": 32}, importance="l2")


def test_a_group_that_is_not_there_is_named() -> None:
    with pytest.raises(ModelError, match="group 'conv9': the model has no such layer"):
        remove_channels(copy.deepcopy(trained().model), EXAMPLE, {"conv9": 1}, importance="l2")


def test_a_model_without_layers_has_nothing_to_prune() -> None:
    assert find_groups(nn.Sequential(nn.ReLU()), EXAMPLE) == ()


GROUPS = (
    PrunableGroup("stem", 32, ("stem",), "first"),
    PrunableGroup("body.0", 64, ("body.0", "body.1"), "inner"),
    PrunableGroup("tail", 64, ("tail", "classifier"), "last"),
)


def test_the_policy_is_gentle_at_both_ends() -> None:
    assert layer_factors(GROUPS, {}) == {"stem": 0.5, "body.0": 1.0, "tail": 0.75}


def test_a_pattern_overrides_the_policy_for_any_member_and_the_last_one_wins() -> None:
    assert layer_factors(GROUPS, {"*": 0.3, "body.1": 0.0}) == {"stem": 0.3, "body.0": 0.0, "tail": 0.3}


def test_without_curves_the_policy_alone_decides() -> None:
    assert allocate_ratios({"a": 1.0, "b": 0.5}, curves={}, prune_ratio=0.6) == {"a": 0.6, "b": 0.3}


def test_a_group_whose_metric_falls_further_is_pruned_less() -> None:
    curves = {
        "robust": SensitivityCurve("robust", 64, ((0.0, 0.9), (0.5, 0.9))),
        "fragile": SensitivityCurve("fragile", 64, ((0.0, 0.9), (0.5, 0.3))),
    }
    ratios = allocate_ratios({"robust": 1.0, "fragile": 1.0}, curves=curves, prune_ratio=0.5)
    assert ratios["robust"] == pytest.approx(0.75)
    assert ratios["fragile"] == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("channels", "ratio", "expected"), [(64, 0.5, 32), (64, 0.45, 32), (64, 0.99, 8), (6, 0.5, 6), (20, 0.1, 16)]
)
def test_channels_stay_a_multiple_of_eight_and_at_least_eight(channels: int, ratio: float, expected: int) -> None:
    assert channels_to_keep(channels, ratio=ratio, multiple=8) == expected


@pytest.mark.parametrize(
    ("channels", "ratio", "expected"), [(192, 0.5, 96), (192, 0.45, 96), (192, 0.99, 48), (36, 0.3, 36)]
)
def test_channels_stay_what_the_groups_layers_need(channels: int, ratio: float, expected: int) -> None:
    assert channels_to_keep(channels, ratio=ratio, multiple=24, minimum=40) == expected


@pytest.mark.parametrize(("wanted", "expected"), [(0, 0), (3, 0), (4, 4), (11, 8), (16, 8), (99, 8)])
def test_a_group_gives_whole_multiples_and_keeps_its_minimum(wanted: int, expected: int) -> None:
    group = PrunableGroup("grouped", 16, ("grouped",), "inner", multiple=4, minimum=8)
    assert group.removable(wanted) == expected
