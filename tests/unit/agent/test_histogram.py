"""The latency histogram."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from drupelet_agent.telemetry.histogram import Histogram


def test_an_empty_histogram_has_no_percentiles() -> None:
    assert Histogram().percentiles() is None


def test_percentiles_of_a_uniform_distribution() -> None:
    histogram = Histogram()
    for value in range(1, 1001):
        histogram.record(float(value))
    found = histogram.percentiles()
    assert found is not None
    assert found.count == 1000
    for value, expected in ((found.p50_ms, 500), (found.p90_ms, 900), (found.p95_ms, 950), (found.p99_ms, 990)):
        assert expected <= value <= expected * (1 + 1 / 64)
    assert found.max_ms == 1000.0


@given(st.lists(st.floats(min_value=0.001, max_value=3.6e6), min_size=1, max_size=200))
def test_the_median_is_at_most_a_64th_above_the_true_one(values: list[float]) -> None:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    found = histogram.percentiles()
    assert found is not None
    true = sorted(values)[(len(values) + 1) // 2 - 1]
    # One microsecond is the resolution.
    assert true - 0.001 <= found.p50_ms <= true * (1 + 1 / 64) + 0.001


def test_memory_is_bounded_whatever_is_recorded() -> None:
    histogram = Histogram()
    for exponent in range(400):
        histogram.record(1.1**exponent)
    assert len(histogram._counts) <= 1792
