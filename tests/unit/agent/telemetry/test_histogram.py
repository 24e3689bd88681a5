"""The latency histogram."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from drupelet_agent.telemetry.histogram import MAX_RELATIVE_ERROR, Histogram

# One microsecond is the resolution.
RESOLUTION_MS = 0.001
LONGEST_MS = (2**32 - 1) / 1e3


def histogram_of(*values_ms: float) -> Histogram:
    histogram = Histogram()
    for value_ms in values_ms:
        histogram.record(value_ms)
    return histogram


def test_an_empty_histogram_has_no_percentiles() -> None:
    assert Histogram().percentiles() is None


def test_percentiles_of_a_uniform_distribution() -> None:
    found = histogram_of(*map(float, range(1, 1001))).percentiles()
    assert found is not None
    assert found.count == 1000
    for value, expected in ((found.p50_ms, 500), (found.p90_ms, 900), (found.p95_ms, 950), (found.p99_ms, 990)):
        assert expected <= value <= expected * (1 + MAX_RELATIVE_ERROR)
    assert found.max_ms == 1000.0


@given(st.lists(st.floats(min_value=0, max_value=LONGEST_MS - 1), min_size=1, max_size=200))
def test_every_percentile_is_at_most_the_stated_error_above_the_true_one(values: list[float]) -> None:
    found = histogram_of(*values).percentiles()
    assert found is not None
    ordered = sorted(values)
    reported = {0.50: found.p50_ms, 0.90: found.p90_ms, 0.95: found.p95_ms, 0.99: found.p99_ms}
    for fraction, value in reported.items():
        rank = next(rank for rank in range(1, len(values) + 1) if rank >= fraction * len(values))
        true = ordered[rank - 1]
        assert true - RESOLUTION_MS <= value <= true * (1 + MAX_RELATIVE_ERROR) + RESOLUTION_MS
    assert abs(found.max_ms - ordered[-1]) <= RESOLUTION_MS


@given(st.lists(st.floats(min_value=LONGEST_MS, allow_infinity=False, max_value=1e15), min_size=1, max_size=9))
def test_values_beyond_the_range_are_counted_and_reported_as_the_maximum(values: list[float]) -> None:
    found = histogram_of(*values).percentiles()
    assert found is not None
    assert found.count == len(values)
    assert found.p50_ms == found.p99_ms == found.max_ms == round(max(values), 3)


def test_a_negative_duration_counts_as_zero() -> None:
    found = histogram_of(-5.0).percentiles()
    assert found is not None
    assert (found.count, found.p50_ms, found.max_ms) == (1, 0.0, 0.0)


def test_memory_is_bounded_whatever_is_recorded() -> None:
    histogram = Histogram()
    microseconds = 0.0
    while microseconds < 2**34:
        histogram.record(microseconds / 1e3)
        # Steps finer than any bucket.
        microseconds += max(1.0, microseconds / 200)
    assert histogram.buckets == 1728
