from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from drupelet_host.data.samples import Samples
from drupelet_host.errors import LatencyError
from drupelet_host.evaluation.measure import measure_models
from drupelet_host.evaluation.metrics import Fidelity
from drupelet_host.evaluation.target_latency import add_latency
from drupelet_host.latency.machine import WORKSTATION
from drupelet_host.latency.source import DEFAULT_PRECISION, LatencyAnswers, LatencyEstimate, LatencySource, Percentile
from drupelet_host.latency.workstation import BRIEF, WorkstationSource
from drupelet_shared.engines.base import Tensors
from drupelet_shared.timing import Interval, is_precise, summarize
from support.model.onnx_models import write_add_model, write_expanding_model

FEED = {"input": np.ones((1, 1), np.float32)}


def assert_is_a_source(source: LatencySource) -> None:
    """The type checker holds the argument to the protocol."""
    assert source.label
    assert source.fingerprint


class PredictedSource:
    """A source that gives every model the same latency, except for one that it has no number for."""

    is_quick = True
    label = "modelled for a test"
    fingerprint = "modelled for a test, version 1"

    def measure(
        self,
        models: Mapping[str, Path],
        *,
        feed: Tensors,
        references: Collection[str] = (),
        precision: float = DEFAULT_PRECISION,
        percentile: Percentile = "p50",
    ) -> LatencyAnswers:
        assert feed
        assert (precision, percentile, references) == (DEFAULT_PRECISION, "p50", ())
        answer = LatencyEstimate(p50_ms=7.0, interval=Interval(6.0, 8.0), source=self.label)
        return {name: LatencyError("it has none") if name == "unknown" else answer for name in models}


def test_the_workstation_orders_models_and_gives_each_an_interval(tmp_path: Path) -> None:
    source = WorkstationSource()
    assert_is_a_source(source)
    models = {
        "fast": write_add_model(tmp_path / "fast.onnx"),
        "slow": write_expanding_model(tmp_path / "slow.onnx", count=500_000),
    }
    found = source.measure(models, feed=FEED, precision=0.5)
    assert found["fast"].interval.high_ms < found["slow"].interval.low_ms
    for estimate in found.values():
        assert estimate.interval.low_ms <= estimate.p50_ms <= estimate.interval.high_ms
        assert estimate.source == WORKSTATION == source.label
    assert "measured on this machine: " in source.fingerprint


def test_a_measurement_has_the_latency_of_its_source_and_this_machine_s_without_one(tmp_path: Path) -> None:
    model = write_add_model(tmp_path / "add.onnx")
    samples = Samples(feeds=(FEED,), labels=None, answers=({"output": FEED["input"] + 1},))
    alone = measure_models({"add": model, "unknown": model}, samples, Fidelity(), budget=BRIEF, memory=False)
    assert alone["add"].target_latency.p50_ms == alone["add"].timing.p50_ms
    assert alone["add"].target_latency.source == WORKSTATION
    asked = add_latency(alone, PredictedSource(), feed=FEED, references=())
    assert asked.failures == {"unknown": "it has none"}
    (add,) = asked.measured.values()
    assert add.target_latency.p50_ms == 7.0
    assert add.target_latency.source == "modelled for a test"
    # What a model of a processor told is never given out as measured.
    assert add.measured_latency.source == WORKSTATION
    assert add.measured_latency.p50_ms == add.timing.p50_ms != 7.0


def test_a_median_is_precise_when_its_interval_is_narrow() -> None:
    steady = summarize([1.0] * 50)
    spread = summarize([1.0, 2.0] * 25)
    assert is_precise(steady, 0.01)
    assert not is_precise(spread, 0.01)
    assert not is_precise(summarize([1.0]), 0.5)
