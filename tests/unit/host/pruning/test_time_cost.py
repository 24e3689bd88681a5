"""What the search removes when time counts: by the target's latency table, not by multiply-accumulates."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from drupelet_host.export.onnx import export_onnx
from drupelet_host.latency.modelled.layers import LayerShape
from drupelet_host.latency.modelled.module_layers import read_module_layers
from drupelet_host.latency.modelled.onnx_layers import read_onnx_layers
from drupelet_host.latency.modelled.table import LatencyTable
from drupelet_host.pruning.search.choice import ChannelChoice
from drupelet_host.pruning.search.savings import CostMeasure, CostWeights, _compare, measure_savings
from drupelet_host.pruning.search.steps import plan_step
from drupelet_host.pruning.search.time_cost import LatencyCost, MacCost, Way
from drupelet_host.pruning.structure.groups import find_groups
from support.model.architectures import ARCHITECTURES
from support.model.latency_tables import make_table

EXAMPLE = torch.zeros(1, 3, 16, 16)


def two_branches() -> nn.Module:
    """A 3 x 3 convolution with nine times the work of a pointwise one, each with a group of its own."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 64, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(64, 64, 1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 4),
    ).eval()


def latency(table: LatencyTable) -> CostMeasure:
    return CostMeasure(CostWeights(parameters=0.0, time=1.0), LatencyCost(table, [Way("ncnn", "float32")]))


def chosen_group(measure: CostMeasure) -> str:
    """Return the only group that a small step makes narrower, where nothing is known of what it loses."""
    model = two_branches()
    channels = {group.name: group.channels for group in find_groups(model, EXAMPLE)}
    choice = ChannelChoice(curves={}, factors=dict.fromkeys(channels, 1.0), multiple=8)
    chosen = plan_step(model, EXAMPLE, channels, goal=0.02, choice=choice, measure=measure)
    (name,) = (name for name, count in chosen.items() if count < channels[name])
    return name


def test_the_latency_search_takes_the_other_layer_than_the_search_by_macs() -> None:
    # The first group feeds both convolutions and saves most multiply-accumulates; by this table only what the second
    # writes costs time, in the linear layer behind it.
    by_macs = chosen_group(CostMeasure(CostWeights(parameters=0.0, time=1.0), MacCost()))
    by_latency = chosen_group(latency(make_table({"linear": 1.0})))
    assert (by_macs, by_latency) == ("0", "2")


def test_savings_are_the_table_s_differences_at_any_width() -> None:
    model, table = two_branches(), make_table({"linear": 1.0, "pointwise": 1.0, "convolution": 2.0})
    savings = measure_savings(model, EXAMPLE, {"0": 64, "2": 64}, measure=latency(table))
    pixels = 256
    # Input channels in tiles of 4, output channels in tiles of 8.
    whole = pixels * (2 * 9 * 4 * 64 + 64 * 64) + 64 * 8
    narrower = pixels * (2 * 9 * 4 * 40 + 40 * 64) + 64 * 8
    assert savings.saved({"0": 64, "2": 64}, "0", 40) == pytest.approx(1 - narrower / whole)
    # Within one tile of 8 nothing but whole tiles of its readers' 4 inputs is saved.
    assert savings.saved({"0": 64, "2": 64}, "0", 63) == 0.0
    both = savings.saved({"0": 40, "2": 64}, "2", 32)
    after = pixels * (2 * 9 * 4 * 40 + 40 * 32) + 32 * 8
    assert both == pytest.approx((narrower - after) / whole)


def test_what_a_channel_takes_from_a_depthwise_layer_includes_its_groups() -> None:
    def shapes(width: int) -> tuple[LayerShape, ...]:
        layers = nn.Sequential(nn.Conv2d(3, width, 1), nn.Conv2d(width, width, 3, groups=width), nn.Conv2d(width, 4, 1))
        return read_module_layers(layers.eval(), EXAMPLE)

    changes = _compare(shapes(32), shapes(24), 8)
    assert [(one.in_channels, one.out_channels, one.groups) for one in changes] == [(0, 1, 0), (1, 1, 1), (1, 0, 0)]


def test_two_engines_add_up() -> None:
    table, shapes = (
        make_table({"linear": 1.0, "pointwise": 1.0, "convolution": 1.0}),
        read_module_layers(two_branches(), EXAMPLE),
    )
    one = LatencyCost(table, [Way("ncnn", "float32")]).of(shapes)
    assert LatencyCost(table, [Way("ncnn", "float32"), Way("litert", "int8")]).of(shapes) == pytest.approx(2 * one)


def _sizes(shapes: tuple[LayerShape, ...]) -> list[tuple[object, ...]]:
    return [(one.category, one.in_channels, one.out_channels, one.out_pixels, one.window, one.stride) for one in shapes]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet", "mobilenet", "densenet", "resnext"])
def test_a_module_has_the_layers_of_the_file_it_is_exported_to(name: str, tmp_path: Path) -> None:
    model = ARCHITECTURES[name].build()
    example = torch.zeros(ARCHITECTURES[name].input_shape)
    export_onnx(model, tuple(example.shape), tmp_path / "model.onnx", output_names=("output",))
    assert _sizes(read_module_layers(model, example)) == _sizes(read_onnx_layers(tmp_path / "model.onnx"))


def test_a_measure_travels_to_a_worker_and_counts_the_same_there() -> None:
    measure = latency(make_table({"linear": 1.0, "pointwise": 1.0, "convolution": 2.0}))
    sent = pickle.loads(pickle.dumps(measure))

    assert sent.count(two_branches(), EXAMPLE) == measure.count(two_branches(), EXAMPLE)
