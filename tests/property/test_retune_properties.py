"""When to measure again: a real change is followed, noise is not."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from drupelet_agent.device.snapshot import Snapshot
from drupelet_agent.planning.retune import Conditions, RetuneHistory, RetunePolicy, assess, conditions_of

POLICY = RetunePolicy(confirm=3, min_interval_s=100.0)
LOOK_S = 10.0
CALM = Conditions(cores=4, cpu_quota=None, memory_bytes=1_000_000_000)
SNAPSHOT = Snapshot(
    cpu_model="pi",
    cores=4,
    cpu_quota=None,
    memory_total_bytes=2_000_000_000,
    memory_available_bytes=1_000_000_000,
    temperature_celsius=50.0,
    throttled=False,
)

some_conditions = st.builds(
    Conditions,
    cores=st.integers(1, 4),
    cpu_quota=st.sampled_from([None, 1.0, 2.0]),
    memory_bytes=st.sampled_from([500_000_000, 1_000_000_000, 1_040_000_000]),
    hot=st.booleans(),
    throttled=st.booleans(),
)
some_drift = st.sampled_from([None, "drift of 31 %", "drift of 32 %"])


def tunings(seen: list[tuple[Conditions, str | None]], *, policy: RetunePolicy = POLICY) -> list[tuple[int, str]]:
    """Look after look: at which of them was measured again, and why."""
    history, found = RetuneHistory(CALM), []
    for number, (now, drift) in enumerate(seen):
        history, why = assess(history, now, drift=drift, now_s=number * LOOK_S, policy=policy)
        if why is not None:
            found.append((number, why))
    return found


@given(st.lists(st.tuples(some_conditions, some_drift), max_size=200))
def test_measurements_are_never_closer_than_the_interval(seen: list[tuple[Conditions, str | None]]) -> None:
    times = [number * LOOK_S for number, _ in tunings(seen)]
    assert all(later - earlier >= POLICY.min_interval_s for earlier, later in pairwise(times))


@given(st.lists(st.integers(1, POLICY.confirm - 1), max_size=60), some_conditions, some_drift)
def test_what_never_lasts_long_enough_is_never_followed(
    bursts: list[int], other: Conditions, drift: str | None
) -> None:
    seen = [step for length in bursts for step in [*[(other, drift)] * length, (CALM, None)]]
    assert tunings(seen) == []


@given(some_conditions, st.integers(0, 50), st.integers(POLICY.confirm, 100))
def test_a_change_that_stays_is_followed_exactly_once(other: Conditions, before: int, after: int) -> None:
    found = tunings([(CALM, None)] * before + [(other, None)] * after)
    differs = (
        assess(RetuneHistory(CALM), other, drift=None, now_s=0.0, policy=replace(POLICY, confirm=1))[1] is not None
    )
    assert len(found) == (1 if differs else 0)


@given(st.lists(st.floats(70.1, 77.9), min_size=1, max_size=200))
def test_a_temperature_between_the_two_thresholds_changes_nothing(celsius: list[float]) -> None:
    before, seen = None, list[tuple[Conditions, str | None]]()
    for value in celsius:
        snapshot = replace(SNAPSHOT, temperature_celsius=value)
        before = conditions_of(snapshot, cores=4, memory_bytes=CALM.memory_bytes, before=before)
        seen.append((before, None))
    assert tunings(seen) == []


def test_changes_that_differ_at_each_check_are_not_confirmed() -> None:
    seen = [(replace(CALM, cores=2 + number % 2), None) for number in range(20)]
    assert tunings(list(seen)) == []


def test_drift_that_stays_is_followed_although_its_numbers_change() -> None:
    seen = [(CALM, f"{late} of 100 inferences are late") for late in range(POLICY.confirm)]
    assert tunings(seen) == [(POLICY.confirm - 1, f"{POLICY.confirm - 1} of 100 inferences are late")]


def test_a_swing_follows_with_double_the_interval_each_time() -> None:
    seen = [(replace(CALM, throttled=number % 2 == 0), None) for number in range(200) for _ in range(POLICY.confirm)]
    numbers = [number for number, _ in tunings(seen)]
    gaps = [(later - earlier) * LOOK_S for earlier, later in pairwise(numbers)]
    assert gaps[1] >= 2 * POLICY.min_interval_s
    assert gaps[2] >= 4 * POLICY.min_interval_s


def test_the_reason_names_both_values() -> None:
    seen = [(replace(CALM, cores=2), None)] * POLICY.confirm
    assert tunings(seen) == [(POLICY.confirm - 1, "usable cores 4 -> 2")]
