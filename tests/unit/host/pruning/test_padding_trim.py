from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from drupelet_host.compiler.lineage import digest_module
from drupelet_host.evaluation.cost import count_parameters
from drupelet_host.pruning.rewriting.padding_trim import trim_padding


def conv(**settings: object) -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(**{"in_channels": 3, "out_channels": 4, "kernel_size": 3, "padding": 1, **settings})


def trimmed(model: nn.Module, shape: tuple[int, ...]) -> tuple[nn.Module, int]:
    """A trimmed copy that computes what the model computes, and how many weights went."""
    copied = copy.deepcopy(model)
    removed = trim_padding(copied, torch.zeros(shape))
    assert removed == count_parameters(model) - count_parameters(copied)
    inputs = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(copied(inputs), model.eval()(inputs), atol=1e-6)
    return copied, removed


def test_a_3_by_3_kernel_on_one_pixel_becomes_1_by_1() -> None:
    layer, removed = trimmed(conv(), (1, 3, 1, 1))
    assert layer.weight.shape == (4, 3, 1, 1)
    assert (layer.kernel_size, layer.padding) == ((1, 1), (0, 0))
    assert removed == 4 * 3 * 8


@pytest.mark.parametrize(
    ("settings", "size", "kernel"),
    [
        ({"stride": 2}, (2, 2), (2, 2)),
        ({}, (2, 2), (3, 3)),
        ({}, (8, 8), (3, 3)),
        ({}, (1, 8), (1, 3)),
        ({"kernel_size": 7, "padding": 3, "stride": 2}, (4, 4), (6, 6)),
        ({"padding": 2, "dilation": 2}, (2, 2), (1, 1)),
        ({"groups": 3, "out_channels": 3}, (1, 1), (1, 1)),
        ({"kernel_size": 5, "padding": 2}, (2, 2), (3, 3)),
    ],
)
def test_only_taps_that_see_input_stay(
    settings: dict[str, object], size: tuple[int, int], kernel: tuple[int, int]
) -> None:
    layer, _ = trimmed(conv(**settings), (2, 3, *size))
    assert layer.weight.shape[2:] == kernel


def test_a_kernel_that_sees_nothing_but_padding_is_left_alone() -> None:
    assert trimmed(conv(kernel_size=2, padding=2, dilation=4), (1, 3, 1, 1))[1] == 0


@pytest.mark.parametrize("settings", [{"padding_mode": "reflect", "padding": 0}, {"padding": "same"}])
def test_other_padding_is_left_alone(settings: dict[str, object]) -> None:
    assert trimmed(conv(**settings), (1, 3, 4, 4))[1] == 0


def test_a_layer_that_sees_two_sizes_is_left_alone() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = conv(out_channels=3)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return self.layer(inputs).mean() + self.layer(inputs[..., :1, :1])

    assert trimmed(Shared(), (1, 3, 4, 4))[1] == 0


def test_one_dimension_and_transposed_convolutions_work_too() -> None:
    torch.manual_seed(0)
    assert trimmed(nn.Conv1d(2, 2, 5, padding=2), (1, 2, 1))[1] == 2 * 2 * 4
    assert trimmed(nn.ConvTranspose2d(3, 4, 3, padding=1), (1, 3, 1, 1))[1] == 0


def test_a_model_without_padding_taps_keeps_its_bytes() -> None:
    model = nn.Sequential(conv(), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 64, 2)).eval()
    before = digest_module(model)
    assert trim_padding(model, torch.zeros(1, 3, 8, 8)) == 0
    assert digest_module(model) == before
