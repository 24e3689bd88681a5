"""Whether a search goes on after the last measurement, and with which limit."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from drupelet_host.selection.check import Check
from drupelet_host.selection.continuation import SearchContinuation, find_continuation
from drupelet_host.selection.frontier import JudgedCandidate


@dataclass(frozen=True)
class Outcome:
    """What a search came to."""

    candidates: tuple[JudgedCandidate, ...]


CANDIDATE = JudgedCandidate(number=1, measurements={}, parameters=10, macs=10, kept=True, reason="kept")
OUTCOME = Outcome((CANDIDATE,))


def latency(variant: str, value: float, *, highest: float | None = None) -> Check:
    return Check("max_latency", variant, 20.0, value, highest=highest, unit="ms")


def size(variant: str, value: float) -> Check:
    return Check("max_size", variant, 1000, value)


def test_a_search_goes_on_with_a_limit_that_is_smaller_by_the_disagreement_and_a_little_more() -> None:
    going_on = find_continuation([latency("a", 25.0), size("a", 900)], OUTCOME)
    assert going_on is not None
    assert going_on.outcome is OUTCOME
    assert going_on.factor == pytest.approx(0.97 * 20 / 25)


def test_the_factors_of_searches_that_follow_each_other_are_multiplied() -> None:
    before = SearchContinuation(OUTCOME, 0.5)
    going_on = find_continuation([latency("a", 25.0)], OUTCOME, before=before)
    assert going_on is not None
    assert going_on.factor == pytest.approx(0.5 * 0.97 * 20 / 25)


def test_the_upper_bound_of_a_range_counts() -> None:
    going_on = find_continuation([latency("a", 19.0, highest=24.0)], OUTCOME)
    assert going_on is not None
    assert going_on.factor == pytest.approx(0.97 * 20 / 24)


def test_the_variant_that_is_nearest_decides() -> None:
    both = [latency("misses its size too", 20.5), size("misses its size too", 1001)]
    going_on = find_continuation([latency("far", 40.0), latency("near", 22.0), *both], OUTCOME)
    assert going_on is not None
    assert going_on.factor == pytest.approx(0.97 * 20 / 22)


def test_without_a_search_nothing_goes_on() -> None:
    assert find_continuation([latency("a", 25.0)], None) is None
    assert find_continuation([latency("a", 25.0)], Outcome(())) is None


def test_where_no_variant_misses_its_latency_alone_nothing_goes_on() -> None:
    assert find_continuation([latency("a", 25.0), size("a", 1001), latency("b", 19.0)], OUTCOME) is None
    assert find_continuation([size("a", 1001)], OUTCOME) is None
    assert find_continuation([latency("a", 19.0)], OUTCOME) is None
