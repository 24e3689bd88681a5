"""Layers and parameters that few networks have: they lose channels with the others, or stay with a reason."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from drupelet_host.pruning.structure.groups import choose_slices, find_structure, remove_channels
from drupelet_host.pruning.structure.slices import blank_slices
from drupelet_host.pruning.structure.tracing import Trace

IMAGE = (2, 3, 12, 12)


class Upsampling(nn.Module):
    """A transposed convolution in groups between two plain ones."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.stem, self.after = nn.Conv2d(3, 16, 3, 2, 1), nn.Conv2d(16, 12, 3)
        self.up, self.head = nn.ConvTranspose2d(16, 16, 2, 2, groups=groups), nn.Linear(12, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.up(torch.relu(self.stem(x))))
        return self.head(torch.relu(self.after(x)).mean((2, 3)))


class Calibrated(nn.Module):
    """Channels that a buffer scales, one shifts and one divides."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.after, self.head = nn.Conv2d(3, 16, 3), nn.Conv2d(16, 12, 3), nn.Linear(12, 3)
        for name in ("gain", "shift", "deviation"):
            self.register_buffer(name, torch.rand(1, 16, 1, 1) + 0.5)
        self.register_buffer("grid", torch.ones(10, 10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = (self.stem(x) * self.gain * self.grid - self.shift) / self.deviation
        return self.head(torch.relu(self.after(torch.relu(x))).mean((2, 3)))


class HalfStem(nn.Module):
    """A stem in float16 before layers in float32."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.after, self.head = nn.Conv2d(3, 16, 3).half(), nn.Conv2d(16, 12, 3), nn.Linear(12, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.stem(x.half()).float())
        return self.head(torch.relu(self.after(x)).mean((2, 3)))


class Neighbours(nn.Module):
    """Attention over channels by a convolution that slides over them (ECA-Net, Wang et al., 2020)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.slide = nn.Conv2d(3, 16, 3), nn.Conv1d(1, 1, 3, padding=1, bias=False)
        self.after, self.head = nn.Conv2d(16, 12, 3), nn.Linear(12, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.stem(x))
        gate = self.slide(x.mean((2, 3)).unsqueeze(1)).squeeze(1).sigmoid()
        return self.head(torch.relu(self.after(x * gate[..., None, None])).mean((2, 3)))


class Unused(nn.Module):
    """A layer that bright images do not reach."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.dark, self.head = nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 3), nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bright = x.mean() > -100
        x = torch.relu(self.stem(x))
        return self.head((x if bright else self.dark(x)).mean((2, 3)))


@pytest.mark.parametrize(
    ("model", "names"),
    [
        (lambda: Upsampling(4), ["stem", "up", "after"]),
        (lambda: Upsampling(16), ["stem", "after"]),
        (Calibrated, ["stem", "after"]),
        (HalfStem, ["stem", "after"]),
    ],
    ids=["grouped transposed", "depthwise transposed", "buffers", "float16"],
)
def test_a_network_loses_channels_and_computes_what_it_does_without_them(
    model: type[nn.Module], names: list[str]
) -> None:
    torch.manual_seed(0)
    whole, inputs = model().eval(), torch.randn(IMAGE)
    structure = find_structure(whole, inputs[:1])
    assert [group.name for group in structure.groups] == names
    removals = {group.name: group.removable(group.channels // 2) for group in structure.groups}
    pruned, blanked = copy.deepcopy(whole), copy.deepcopy(whole)
    remove_channels(pruned, inputs[:1], removals, importance="l2")
    trace = Trace(blanked, inputs[:1])
    blank_slices(blanked, [piece for item in removals.items() for piece in choose_slices(blanked, trace, *item, "l2")])
    with torch.no_grad():
        torch.testing.assert_close(pruned(inputs), blanked(inputs), rtol=1e-3, atol=1e-4)
    weights = sum(parameter.numel() for parameter in pruned.parameters())
    assert weights < 0.4 * sum(parameter.numel() for parameter in whole.parameters())
    with torch.no_grad():
        assert not torch.allclose(pruned(inputs), whole(inputs), atol=1e-3)


@pytest.mark.parametrize(
    ("model", "layer", "reason"),
    [
        (Neighbours, "stem", "a convolution slides over its channels"),
        (Neighbours, "slide", "it has one channel, which must stay"),
        (Unused, "dark", "the model does not call it for the example input"),
    ],
)
def test_a_layer_that_must_stay_says_why(model: type[nn.Module], layer: str, reason: str) -> None:
    torch.manual_seed(0)
    assert find_structure(model().eval(), torch.randn(IMAGE)).unpruned[layer] == reason
