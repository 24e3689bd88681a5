from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from drupelet_host.pruning.structure.coupling_check import check_coupling, check_subset
from drupelet_host.pruning.structure.groups import find_structure, remove_channels
from drupelet_host.pruning.structure.slices import Slice
from drupelet_host.pruning.structure.trial import Trial
from drupelet_host.pruning.structure.unprunable import Unprunable

IMAGE = (1, 3, 8, 8)


class Splitting(nn.Module):
    """A stem that can be pruned, and a layer whose channels `split` treats as parts."""

    def __init__(self, split: Callable[[torch.Tensor], torch.Tensor], *, width: int, after: int) -> None:
        super().__init__()
        self.stem, self.middle = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, width, 1)
        self.head = nn.Linear(after, 3)
        self._split = split

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self._split(self.middle(torch.relu(self.stem(x)))).mean(dim=(2, 3)))


def gated(x: torch.Tensor) -> torch.Tensor:
    first, second = x.chunk(2, dim=1)
    return first * second.sigmoid()


SPLITS = {
    "chunk": (gated, 16, 8),
    "glu": (lambda x: functional.glu(x, dim=1), 32, 16),
    "pixel-shuffle": (lambda x: functional.pixel_shuffle(x, 2), 64, 16),
    "unequal": (lambda x: x.split([8, 16], dim=1)[1], 24, 16),
}


class Bare(nn.Module):
    """Weights that belong to no layer, used through `torch.nn.functional`."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 16, 3, padding=1), nn.Linear(16, 3)
        self.kernel, self.mixing = nn.Parameter(torch.randn(16, 16, 1, 1)), nn.Parameter(torch.randn(16, 16))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled = functional.conv2d(torch.relu(self.stem(x)), self.kernel).mean(dim=(2, 3))
        return self.head(functional.linear(pooled, self.mixing))


class ShuffleUnit(nn.Module):
    """A grouped convolution behind a channel shuffle (Ma et al., "ShuffleNet V2", 2018)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.branch = nn.Sequential(
            nn.Conv2d(half, half, 1),
            nn.ReLU(),
            nn.Conv2d(half, half, 3, padding=1, groups=half),
            nn.Conv2d(half, half, 1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept, changed = x.chunk(2, dim=1)
        x = torch.cat([kept, self.branch(changed)], dim=1)
        count, channels, height, width = x.shape
        return x.view(count, 2, channels // 2, height, width).transpose(1, 2).reshape(count, channels, height, width)


class Parts(nn.Module):
    """Three unequal parts of a stem, two of them changed by layers of their own, all of them joined again."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 40, 3, padding=1)
        self.first, self.second = nn.Conv2d(8, 16, 1), nn.Conv2d(20, 16, 1)
        self.head = nn.Linear(44, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, second, kept = torch.relu(self.stem(x)).split((8, 20, 12), dim=1)
        joined = [torch.relu(self.first(first)), torch.relu(self.second(second)), kept]
        return self.head(torch.cat(joined, dim=1).mean(dim=(2, 3)))


def shuffle_net() -> nn.Module:
    stem = nn.Conv2d(3, 32, 3, padding=1)
    return nn.Sequential(
        stem, ShuffleUnit(32), ShuffleUnit(32), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 6)
    )


def splitting(name: str) -> nn.Module:
    split, width, after = SPLITS[name]
    return Splitting(split, width=width, after=after)


MODELS: dict[str, Callable[[], nn.Module]] = {
    **{name: lambda name=name: splitting(name) for name in SPLITS},
    "bare": Bare,
    "parts": Parts,
    "shuffle": shuffle_net,
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_every_group_that_is_found_can_lose_any_share_of_its_channels(name: str, quarters: int) -> None:
    torch.manual_seed(0)
    model, inputs = MODELS[name]().eval(), torch.randn(IMAGE)
    structure = find_structure(model, inputs)
    smaller = copy.deepcopy(model).requires_grad_(requires_grad=True)
    removals = {group.name: group.removable(group.channels * quarters // 4) for group in structure.groups}
    remove_channels(smaller, inputs, removals, importance="l2")
    assert smaller(inputs).shape == model(inputs).shape


@pytest.mark.parametrize(("name", "multiple"), [("chunk", 2), ("glu", 2), ("pixel-shuffle", 4)])
def test_a_layer_whose_outputs_are_split_in_equal_parts_loses_as_many_from_each(name: str, multiple: int) -> None:
    torch.manual_seed(0)
    structure = find_structure(splitting(name).eval(), torch.randn(IMAGE))
    assert [(group.name, group.multiple) for group in structure.groups] == [("stem", 1), ("middle", multiple)]


def test_a_layer_whose_outputs_are_split_in_unequal_parts_keeps_its_channels() -> None:
    torch.manual_seed(0)
    structure = find_structure(splitting("unequal").eval(), torch.randn(IMAGE))
    assert [group.name for group in structure.groups] == ["stem"]


def test_layers_behind_an_unequal_split_lose_channels_though_torch_pruning_couples_them_with_the_stem() -> None:
    torch.manual_seed(0)
    structure = find_structure(Parts().eval(), torch.randn(IMAGE))
    assert [group.name for group in structure.groups] == ["first", "second"]
    assert structure.unpruned["stem"] == "the model's code splits its channels in unequal parts"


def test_layers_around_shuffles_lose_the_channels_that_meet() -> None:
    torch.manual_seed(0)
    structure = find_structure(shuffle_net().eval(), torch.randn(IMAGE))
    assert [group.name for group in structure.groups] == ["0", "1.branch.0", "2.branch.0"]
    assert structure.unpruned == {}


def piece(*, indices: tuple[int, ...], roots: tuple[int, ...]) -> Slice:
    return Slice("0", "out", indices, roots, lambda target, _indices: target, 0)


def test_a_trace_that_names_a_channel_the_layer_lacks_is_refused() -> None:
    model = nn.Sequential(nn.Linear(2, 4))
    assert check_coupling(model, [piece(indices=(0, 3), roots=(0, 1))], 4) is None
    refused = check_coupling(model, [piece(indices=(0, 4), roots=(0, 1))], 4)
    assert refused == Unprunable("the trace names channel 4 of 0, which has 4")


def test_a_trace_that_names_a_root_the_group_lacks_is_refused() -> None:
    model = nn.Sequential(nn.Linear(2, 4))
    refused = check_coupling(model, [piece(indices=(0, 1), roots=(0, 2))], 2)
    assert refused == Unprunable("the trace does not tell whose channels those of 0 are")


def test_a_subset_that_touches_channels_of_others_is_refused() -> None:
    whole = [piece(indices=(0, 1, 2, 3), roots=(0, 1, 2, 3))]
    assert check_subset(whole, [piece(indices=(1,), roots=(1,))], [1]) is None
    assert isinstance(check_subset(whole, [piece(indices=(1, 3), roots=(1, 1))], [1]), Unprunable)


def test_a_removal_that_no_output_shows_is_refused() -> None:
    class Closed(nn.Module):
        """A ReLU that is closed for every input: whatever is cut before it, the output is the same."""

        def __init__(self) -> None:
            super().__init__()
            self.stem, self.head = nn.Linear(3, 16), nn.Linear(16, 2)
            self.hidden, self.mixing = nn.Linear(3, 16), nn.Linear(16, 16)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            closed = self.mixing(torch.relu(self.hidden(x) - 1e6))
            return self.head(torch.relu(self.stem(x)) + closed)

    torch.manual_seed(0)
    structure = find_structure(Closed().eval(), torch.randn(1, 3))
    assert [group.name for group in structure.groups] == ["mixing"]
    assert structure.unpruned["hidden"].startswith("no output changes without its channels")


def test_outputs_of_integers_are_compared() -> None:
    class Largest(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x).argmax(dim=1)

    model = Largest()
    with torch.no_grad():
        model.layer.weight.copy_(torch.tensor([[9.0, 0, 0], [0, 9, 0], [0, 0, 9], [-9, 0, 0]]))
        model.layer.bias.zero_()
    cut_another = Slice("layer", "out", (0,), (0,), CutOthers().cut, 0)
    fault = Trial(model, torch.tensor([[0.0, 0.0, 1.0]])).fault([cut_another])
    assert fault == "without its channels the others would compute something else"


def test_weight_norm_is_pruned_and_the_model_keeps_its_own() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(parametrizations.weight_norm(nn.Conv1d(3, 16, 3)), nn.ReLU(), nn.Conv1d(16, 2, 3)).eval()
    inputs = torch.randn(1, 3, 12)
    expected = model(inputs)
    smaller = copy.deepcopy(model)
    remove_channels(smaller, inputs, {"0": 8}, importance="l2")
    assert smaller[0].weight.shape == (8, 3, 3)
    assert [group.name for group in find_structure(model, inputs).groups] == ["0"]
    torch.testing.assert_close(model(inputs), expected)


class CutOthers:
    """Removes other channels than it was asked for, as a wrong trace would."""

    pruning_dim = 0

    def cut(self, layer: nn.Linear, _indices: list[int]) -> nn.Linear:
        with torch.no_grad():
            layer.weight.copy_(layer.weight.roll(1, dims=0))
        return layer


def test_a_group_whose_large_weights_reach_no_output_is_tried_without_them() -> None:
    model = nn.Sequential(nn.Linear(16, 16, bias=False), nn.Linear(16, 2, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.diag(torch.tensor([0.5] * 8 + [5.0] * 8)))
        model[1].weight[:, 8:] = 0
        model[1].weight[:, :8] = 0.1
    assert [group.name for group in find_structure(model.eval(), torch.randn(1, 16)).groups] == ["0"]
