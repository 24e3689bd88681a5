"""What `make latency-table` measures: how nodes are matched with layers, and how layers between them are estimated."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks.latency_model.fitting import Sample, fit, shapes_of
from benchmarks.latency_model.measuring import Run, attribute_nodes
from benchmarks.latency_model.networks import Builder, Network
from benchmarks.latency_model.probes import FIRST_LARGE_STEM, FIRST_SMALL, FIRST_STEM, count_macs, probe
from drupelet_host.latency.modelled.layers import LayerShape


def shortcut() -> Network:
    """A 3 x 3 convolution, a shortcut beside it in the file's order, a second convolution, and their sum."""
    builder = Builder((8, 4, 4))
    first = builder.conv(16, 3, 2)
    second = builder.conv(24, 3, activation="none", source=first)
    beside = builder.conv(24, 1, 2, activation="none", source=-1)
    builder.merge("add", second, beside)
    return builder.network()


def mark(name: str, kind: str, cycles: int, *values: int) -> dict[str, Any]:
    return {"name": name, "kind": kind, "cycles": cycles, "values": list(values)}


def test_a_branch_that_runs_early_is_matched_by_its_name() -> None:
    marks = [
        mark("n0", "FusedConv", 10, 128, 64),
        mark("n2", "Conv", 20, 128, 96),
        mark("fused n1", "Conv", 30, 64, 96),
    ]
    assert attribute_nodes(shortcut(), Run(marks, [])).layers == (10, 30, 20, 0)


def test_a_branch_that_runs_early_is_matched_by_the_values_that_it_reads_and_writes() -> None:
    marks = [
        mark("QuantizeLinear_1", "QuantizeLinear", 1, 128, 128),
        mark("Conv_2_token_1", "QLinearConv", 10, 128, 64),
        mark("Conv_9_token_2", "QLinearConv", 20, 128, 96),
        mark("Conv_5_token_3", "QLinearConv", 30, 64, 96),
        mark("Add_7", "QLinearAdd", 5, 96, 96),
        mark("DequantizeLinear_8", "DequantizeLinear", 2, 96, 96),
    ]
    measured = attribute_nodes(shortcut(), Run(marks, []))
    assert measured.layers == (11, 30, 20, 5)
    assert measured.rest == 2
    assert measured.cycles == 68


@pytest.mark.parametrize("seed", range(FIRST_SMALL, FIRST_SMALL + 24))
def test_probes_of_small_maps_are_what_they_say(seed: int) -> None:
    network = probe(seed, macs=15e6)
    assert network == probe(seed, macs=15e6)
    assert count_macs(network) <= 4 * 15e6
    assert min(shape.out_pixels for shape in shapes_of(network)) <= 49


@pytest.mark.parametrize("seed", [*range(FIRST_STEM, FIRST_STEM + 8), *range(FIRST_LARGE_STEM, FIRST_LARGE_STEM + 8)])
def test_probes_of_first_layers_begin_with_a_window_over_an_image(seed: int) -> None:
    network = probe(seed, macs=15e6)
    assert network == probe(seed, macs=15e6)
    first = shapes_of(network)[0]
    assert first.kind == "convolution"
    assert first.in_channels in {1, 3}
    assert first.window > 1
    assert first.in_pixels >= (160**2 if seed >= FIRST_LARGE_STEM else 24**2)


def test_the_fit_gives_layers_that_it_has_seen_and_the_sum_far_away_from_them() -> None:
    def layer(channels: int) -> LayerShape:
        return LayerShape(kind="add", in_channels=channels, out_channels=channels, in_pixels=100, out_pixels=100)

    samples = [Sample(0, layer(channels), 0.1 * channels * (2 if channels == 64 else 1)) for channels in (16, 64, 256)]
    formula = fit(samples * 20, rest_us=3.0)["add"]
    assert formula.microseconds(layer(64)) == pytest.approx(12.8, rel=0.1)
    far = layer(2**20)
    assert formula.microseconds(far) == pytest.approx(float(np.dot(formula.weights, far.features)), rel=0.01)
