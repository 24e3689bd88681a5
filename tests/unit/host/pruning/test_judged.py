"""What a candidate is judged as, and in which engines time counts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from drupelet_host.evaluation.measurement import Measurement
from drupelet_host.latency.modelled.module_layers import read_module_layers
from drupelet_host.pruning.search.judged import choose_variants, measure_cost
from drupelet_host.pruning.search.savings import CostWeights
from drupelet_host.pruning.search.settings import SearchSettings
from drupelet_host.pruning.search.time_cost import LatencyCost, Way
from drupelet_host.selection.judge import CandidateResult
from drupelet_shared.timing import Timing
from support.model.latency_tables import make_table

EXAMPLE = torch.zeros(1, 8)
SHAPES = read_module_layers(nn.Linear(8, 16).eval(), EXAMPLE)


def settings(slowness: float) -> SearchSettings:
    """Return two engines, of which the second takes so many times as long as the first."""
    return SearchSettings(
        variants=(("fast", "float"), ("slow",)),
        max_metric_drop=0.01,
        weights=CostWeights(parameters=0.0, time=1.0),
        ways={"fast": Way("ncnn", "float32"), "slow": Way("litert", "int8")},
        table=make_table({"linear": 1.0}, {"linear": slowness}),
        by_latency=True,
    )


def measured(times_ms: dict[str, float], *, metrics: dict[str, float]) -> CandidateResult:
    def measure(name: str) -> Measurement:
        ms = times_ms[name]
        timing = Timing(p50_ms=ms, p95_ms=ms, p99_ms=ms, runs=1, mean_ms=ms)
        return Measurement(Path("model.onnx"), 1, metrics[name], timing, 1)

    return CandidateResult({name: measure(name) for name in times_ms}, None)


@pytest.mark.parametrize(("slowness", "counted"), [(1.4, ("fast", "slow")), (1.6, ("fast",))])
def test_an_engine_that_no_device_would_choose_does_not_count(slowness: float, counted: tuple[str, ...]) -> None:
    given = settings(slowness)
    assert given.table is not None
    measure = measure_cost(given, ("fast", "slow"), SHAPES)
    expected = LatencyCost(given.table, [given.ways[name] for name in counted])
    assert measure.time.of(SHAPES) == pytest.approx(expected.of(SHAPES))


def test_without_a_table_multiply_accumulates_count() -> None:
    measure = measure_cost(SearchSettings(variants=(), max_metric_drop=0.01), (), SHAPES)
    assert measure.time.of(SHAPES) == 8 * 16


def test_the_fastest_variant_that_keeps_the_metric_is_judged() -> None:
    metrics = {"fast": 0.9, "float": 1.0, "slow": 1.0}
    result = measured({"fast": 1.0, "float": 2.0, "slow": 3.0}, metrics=metrics)
    assert choose_variants(result, settings(1.0), lowest=0.8) == ("fast", "slow")
    assert choose_variants(result, settings(1.0), lowest=0.95) == ("float", "slow")
