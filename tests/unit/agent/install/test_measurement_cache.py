"""Measurements that are kept: found again under the same conditions, and only then."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from drupelet_agent.config.tuning import TuningConfig
from drupelet_agent.device.snapshot import Snapshot
from drupelet_agent.install.measurement_cache import add, conditions_key, look_up
from drupelet_agent.planning.candidates import PlanCandidate
from drupelet_agent.planning.choice import CandidateMeasurement
from drupelet_agent.store.measurements import KeptMeasurements
from drupelet_shared.timing import Interval, Timing
from support.agent.values import make_variant

SNAPSHOT = Snapshot(
    cpu_model="Raspberry Pi 4 Model B Rev 1.4",
    cores=4,
    cpu_quota=None,
    memory_total_bytes=4 * 10**9,
    memory_available_bytes=3 * 10**9,
    temperature_celsius=50.0,
    throttled=False,
)
TUNING = TuningConfig()
KEY = conditions_key(SNAPSHOT, TUNING)
CANDIDATE = PlanCandidate(make_variant(), threads=2, instances=2)


def measured(candidate: PlanCandidate, *, p99_ms: float = 5.0) -> CandidateMeasurement:
    timing = Timing(
        p50_ms=1.0,
        p95_ms=2.0,
        p99_ms=p99_ms,
        runs=10,
        mean_ms=1.5,
        p50_interval=Interval(0.5, 1.5),
        p99_interval=Interval(2.0, math.inf),
    )
    return CandidateMeasurement(candidate, timing, throughput_per_s=600.0, footprint_bytes=50_000_000)


def test_a_measurement_comes_back_as_it_was_also_through_json() -> None:
    kept = add(KeptMeasurements(), KEY, [measured(CANDIDATE)])
    again = KeptMeasurements.model_validate_json(kept.model_dump_json())
    assert look_up(again, KEY, CANDIDATE) == measured(CANDIDATE)


@pytest.mark.parametrize("other", [{"threads": 1}, {"instances": 1}, {"variant": make_variant("other")}])
def test_another_candidate_is_not_known(other: dict[str, object]) -> None:
    kept = add(KeptMeasurements(), KEY, [measured(CANDIDATE)])
    assert look_up(kept, KEY, replace(CANDIDATE, **other)) is None  # type: ignore[arg-type] # as many types as cases


@pytest.mark.parametrize("other", [{"cores": 2}, {"cpu_quota": 2.0}, {"cpu_model": "Pi 5"}, {"throttled": True}])
def test_other_conditions_have_another_key(other: dict[str, object]) -> None:
    assert conditions_key(replace(SNAPSHOT, **other), TUNING) != KEY  # type: ignore[arg-type] # as above


def test_free_memory_and_temperature_are_no_part_of_the_key() -> None:
    assert conditions_key(replace(SNAPSHOT, memory_available_bytes=1, temperature_celsius=60.0), TUNING) == KEY


def test_the_engines_and_the_agents_versions_are_part_of_the_key() -> None:
    assert "agent=" in KEY
    assert "onnxruntime=" in KEY


def test_a_new_measurement_takes_the_place_of_the_old_one_and_leaves_others() -> None:
    other = replace(CANDIDATE, threads=1)
    kept = add(KeptMeasurements(), KEY, [measured(CANDIDATE), measured(other)])
    kept = add(kept, KEY, [measured(CANDIDATE, p99_ms=9.0)])
    found = [look_up(kept, KEY, candidate) for candidate in (CANDIDATE, other)]
    assert [one.timing.p99_ms for one in found if one] == [9.0, 5.0]


def test_conditions_that_are_long_gone_are_forgotten() -> None:
    kept = KeptMeasurements()
    for number in range(20):
        kept = add(kept, f"conditions {number}", [measured(CANDIDATE)])
    assert list(kept.by_conditions) == [f"conditions {number}" for number in range(12, 20)]
