"""Percentiles, their confidence intervals, and what a benchmark and telemetry say of the same times."""

from __future__ import annotations

import math
import random

import pytest

from drupelet_agent.telemetry.histogram import Histogram
from drupelet_shared.timing import Interval, nearest_rank, percentile, percentile_interval, summarize

ONE_TO_HUNDRED = [float(value) for value in range(1, 101)]


@pytest.mark.parametrize(
    ("count", "fraction", "rank"),
    [
        (1, 0.5, 1),
        (1, 0.99, 1),
        (2, 0.5, 1),
        (3, 0.5, 2),
        (4, 0.5, 2),
        (10, 0.95, 10),
        (20, 0.95, 19),
        (100, 0.5, 50),
        (100, 0.99, 99),
        (101, 0.99, 100),
        # 0.99 * 300 is 297.00000000000006 in floating point.
        (300, 0.99, 297),
        (1000, 0.99, 990),
    ],
)
def test_the_nearest_rank_is_the_fraction_of_the_count_rounded_up(count: int, fraction: float, rank: int) -> None:
    assert nearest_rank(count, fraction) == rank


def test_the_p99_of_a_hundred_runs_is_not_their_maximum() -> None:
    assert percentile(ONE_TO_HUNDRED, 0.99) == 99.0
    assert percentile(ONE_TO_HUNDRED, 1.0) == 100.0


def test_the_median_of_four_values_is_the_second() -> None:
    assert percentile([1.0, 2.0, 3.0, 4.0], 0.5) == 2.0


def test_a_benchmark_and_telemetry_have_one_definition_of_a_percentile() -> None:
    histogram = Histogram()
    # Whole microseconds below 128 have a bucket each, so the histogram is exact.
    times_ms = [value / 1e3 for value in ONE_TO_HUNDRED]
    for time_ms in times_ms:
        histogram.record(time_ms)
    timing, percentiles = summarize(times_ms), histogram.percentiles()
    assert percentiles is not None
    assert (timing.p50_ms, timing.p95_ms, timing.p99_ms) == (0.05, 0.095, 0.099)
    assert (percentiles.p50_ms, percentiles.p95_ms, percentiles.p99_ms) == (0.05, 0.095, 0.099)


def test_the_median_interval_of_a_hundred_runs_lies_between_the_ranks_40_and_61() -> None:
    assert percentile_interval(ONE_TO_HUNDRED, 0.5) == Interval(40.0, 61.0)


def test_a_hundred_runs_do_not_bound_a_p99_and_a_thousand_do() -> None:
    assert percentile_interval(ONE_TO_HUNDRED, 0.99).high_ms == math.inf
    interval = percentile_interval([float(value) for value in range(1, 1001)], 0.99)
    assert 980 <= interval.low_ms < 990 < interval.high_ms <= 1000


def test_a_single_run_bounds_nothing() -> None:
    assert percentile_interval([5.0], 0.5) == Interval(0.0, math.inf)


@pytest.mark.parametrize(("fraction", "true_ms"), [(0.5, 0.5), (0.99, 0.99)])
def test_the_interval_contains_the_true_percentile_as_often_as_it_says(fraction: float, true_ms: float) -> None:
    generator = random.Random(7)
    contained = 0
    for _ in range(400):
        interval = percentile_interval(sorted(generator.random() for _ in range(500)), fraction)
        contained += interval.low_ms <= true_ms <= interval.high_ms
    # 95 % or more, less what chance leaves in 400 trials.
    assert contained >= 370


def test_intervals_that_share_a_value_overlap() -> None:
    assert Interval(1.0, 2.0).overlaps(Interval(2.0, 3.0))
    assert not Interval(1.0, 2.0).overlaps(Interval(2.1, math.inf))
