"""Changes of the device that call for another measurement, and how often they may."""

from __future__ import annotations

from dataclasses import replace

import pytest

from drupelet_agent.device.snapshot import Snapshot
from drupelet_agent.planning.retune import (
    Conditions,
    RetuneHistory,
    RetunePolicy,
    assess,
    change_between,
    conditions_of,
)

GB = 10**9
PLANNED = Conditions(cores=4, cpu_quota=None, memory_bytes=GB)
SNAPSHOT = Snapshot(
    cpu_model="pi",
    cores=4,
    cpu_quota=1.5,
    memory_total_bytes=2 * GB,
    memory_available_bytes=GB,
    temperature_celsius=50.0,
    throttled=False,
)
AT_ONCE = RetunePolicy(confirm=1, min_interval_s=100.0)
FEWER = replace(PLANNED, cores=2)


class TestConditions:
    def test_they_hold_the_quota_the_cores_and_the_memory(self) -> None:
        conditions = conditions_of(SNAPSHOT, cores=3, memory_bytes=GB, before=None)
        assert conditions == Conditions(cores=3, cpu_quota=1.5, memory_bytes=GB, hot=False, throttled=False)

    @pytest.mark.parametrize(
        ("celsius", "was_hot", "hot"),
        [
            (77.9, False, False),
            (78.0, False, True),
            (85.0, False, True),
            (70.0, True, True),
            (69.9, True, False),
            (70.0, False, False),
            (None, True, False),
        ],
    )
    def test_a_processor_gets_hot_at_78_degrees_and_cools_down_below_70(
        self,
        celsius: float | None,
        was_hot: bool,  # noqa: FBT001 - a parameter of the test
        hot: bool,  # noqa: FBT001
    ) -> None:
        snapshot = replace(SNAPSHOT, temperature_celsius=celsius)
        before = replace(PLANNED, hot=was_hot)
        assert conditions_of(snapshot, cores=4, memory_bytes=GB, before=before).hot is hot

    def test_a_first_check_takes_the_upper_threshold(self) -> None:
        snapshot = replace(SNAPSHOT, temperature_celsius=75.0)
        assert not conditions_of(snapshot, cores=4, memory_bytes=GB, before=None).hot

    @pytest.mark.parametrize(("throttled", "expected"), [(True, True), (False, False), (None, False)])
    def test_a_device_that_tells_no_throttling_is_not_throttled(
        self,
        throttled: bool | None,  # noqa: FBT001 - a parameter of the test
        expected: bool,  # noqa: FBT001
    ) -> None:
        snapshot = replace(SNAPSHOT, throttled=throttled)
        assert conditions_of(snapshot, cores=4, memory_bytes=GB, before=None).throttled is expected


class TestChange:
    @pytest.mark.parametrize(
        ("changed", "words"),
        [
            ({"cores": 2}, "usable cores 4 -> 2"),
            ({"cpu_quota": 1.5}, "CPU quota none -> 1.5"),
            ({"memory_bytes": GB // 2}, "memory for models 1.0 GB -> 500.0 MB"),
            ({"throttled": True}, "the cores are slowed down"),
            ({"hot": True}, "the processor is hot"),
        ],
    )
    def test_it_names_what_changed_in_either_direction(self, changed: dict[str, object], words: str) -> None:
        assert change_between(PLANNED, replace(PLANNED, **changed)) == words
        assert change_between(replace(PLANNED, **changed), PLANNED) not in {None, words}

    def test_the_opposite_changes_have_words_of_their_own(self) -> None:
        assert change_between(replace(PLANNED, throttled=True), PLANNED) == "the cores are no longer slowed down"
        assert change_between(replace(PLANNED, hot=True), PLANNED) == "the processor has cooled down"

    @pytest.mark.parametrize("memory_bytes", [GB, 11 * GB // 10, 9 * GB // 10])
    def test_memory_within_a_tenth_is_the_same(self, memory_bytes: int) -> None:
        assert change_between(PLANNED, replace(PLANNED, memory_bytes=memory_bytes)) is None

    @pytest.mark.parametrize("memory_bytes", [11 * GB // 10 + 1, 9 * GB // 10 - 1])
    def test_memory_beyond_a_tenth_is_a_change(self, memory_bytes: int) -> None:
        assert change_between(PLANNED, replace(PLANNED, memory_bytes=memory_bytes)) is not None


class TestConfirmation:
    POLICY = RetunePolicy(confirm=3, min_interval_s=100.0)

    def test_the_same_change_counts_at_each_check_and_another_starts_anew(self) -> None:
        history = RetuneHistory(PLANNED)
        for cores, confirmations in [(2, 1), (2, 2), (3, 1)]:
            now = replace(PLANNED, cores=cores)
            history, reason = assess(history, now, drift=None, now_s=0.0, policy=self.POLICY)
            assert (history.confirmations, reason) == (confirmations, None)

    def test_a_check_without_a_change_forgets_the_change(self) -> None:
        history = RetuneHistory(PLANNED, change="usable cores 4 -> 2", confirmations=2)
        assert assess(history, PLANNED, drift=None, now_s=0.0, policy=self.POLICY) == (RetuneHistory(PLANNED), None)

    def test_a_measurement_makes_the_present_conditions_the_planned_ones(self) -> None:
        history = RetuneHistory(PLANNED, change="usable cores 4 -> 2", confirmations=2)
        after, reason = assess(history, FEWER, drift=None, now_s=7.0, policy=self.POLICY)
        assert (after, reason) == (RetuneHistory(FEWER, tuned_s=7.0), "usable cores 4 -> 2")

    def test_a_change_goes_before_a_drift(self) -> None:
        _, reason = assess(RetuneHistory(PLANNED), FEWER, drift="late", now_s=0.0, policy=AT_ONCE)
        assert reason == "usable cores 4 -> 2"


class TestSeries:
    """Measurements that follow each other closely: the interval doubles with each."""

    def assess_at(self, now_s: float, *, series: int) -> RetuneHistory:
        history = RetuneHistory(PLANNED, tuned_s=1000.0, series=series)
        return assess(history, FEWER, drift=None, now_s=now_s, policy=AT_ONCE)[0]

    @pytest.mark.parametrize(("series", "interval_s"), [(0, 100.0), (1, 200.0), (3, 800.0)])
    def test_the_interval_doubles_with_each_measurement_of_a_series(self, series: int, interval_s: float) -> None:
        assert self.assess_at(1000.0 + interval_s - 0.1, series=series).planned == PLANNED
        assert self.assess_at(1000.0 + interval_s, series=series).planned == FEWER

    def test_a_measurement_within_four_intervals_continues_the_series(self) -> None:
        assert self.assess_at(1000.0 + 4 * 200.0, series=1).series == 2
        assert self.assess_at(1000.0 + 4 * 200.0 + 0.1, series=1).series == 0

    def test_a_series_grows_to_five(self) -> None:
        assert self.assess_at(1000.0 + 3200.0, series=5).series == 5

    def test_a_first_measurement_waits_for_no_interval(self) -> None:
        history, reason = assess(RetuneHistory(PLANNED), FEWER, drift=None, now_s=0.0, policy=AT_ONCE)
        assert reason is not None
        assert history.series == 0
