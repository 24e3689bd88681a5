"""When a number counts as beyond its limit, and when as back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drupelet_agent.telemetry.thresholds import Change, Threshold, ThresholdState, observe

HOT = Threshold(limit=80, clear_at=75, windows=3)
SCARCE = Threshold(limit=100, clear_at=120, windows=1)


def changes(threshold: Threshold, *values: float | None) -> list[Change | None]:
    watch, found = ThresholdState(), []
    for value in values:
        watch, change = observe(watch, value, threshold)
        found.append(change)
    return found


def test_it_takes_several_readings_in_a_row_to_raise() -> None:
    assert changes(HOT, 81, 81, 81, 81) == [None, None, "raised", None]
    assert changes(HOT, 81, 81, 79, 81, 81) == [None] * 5


def test_the_limit_itself_is_not_beyond() -> None:
    assert changes(HOT, 80, 80, 80, 80) == [None] * 4


def test_it_clears_only_well_below_the_limit_and_for_several_readings() -> None:
    assert changes(HOT, 81, 81, 81, 79, 79, 79, 79)[3:] == [None] * 4
    assert changes(HOT, 81, 81, 81, 75, 74, 75) == [None, None, "raised", None, None, "cleared"]
    assert changes(HOT, 81, 81, 81, 75, 75, 76, 75, 75)[3:] == [None] * 5


def test_a_number_that_swings_about_its_limit_is_raised_once() -> None:
    found = changes(Threshold(limit=80, clear_at=75, windows=1), *[81, 79, 81, 78] * 50)
    assert [change for change in found if change] == ["raised"]


def test_a_lower_limit_works_the_other_way_round() -> None:
    assert changes(SCARCE, 101, 100, 99, 110, 119, 120) == [None, None, "raised", None, None, "cleared"]


def test_a_missing_reading_says_nothing_either_way() -> None:
    assert changes(HOT, 81, None, 81, None, 81) == [None, None, None, None, "raised"]


@given(
    st.lists(st.one_of(st.none(), st.floats(min_value=0, max_value=200)), max_size=60),
    st.sampled_from([HOT, SCARCE]),
)
def test_raised_and_cleared_take_turns(values: list[float | None], threshold: Threshold) -> None:
    found = [change for change in changes(threshold, *values) if change]
    assert found == [("raised", "cleared")[index % 2] for index in range(len(found))]


@pytest.mark.parametrize("windows", [1, 2, 5])
def test_no_change_comes_sooner_than_its_windows_after_the_last(windows: int) -> None:
    found = changes(Threshold(limit=80, clear_at=75, windows=windows), *([99] * windows + [1] * windows) * 3)
    at = [index for index, change in enumerate(found) if change]
    assert at == [windows * (number + 1) - 1 for number in range(6)]
