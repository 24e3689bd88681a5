"""Which models are evicted so that another fits."""

from __future__ import annotations

from drupelet_agent.planning.residency import Resident, Room, find_room

OLD, MIDDLE, NEW = Resident("old", 30, 100.0), Resident("middle", 20, 200.0), Resident("new", 40, 300.0)
ALL = (NEW, OLD, MIDDLE)


def test_a_model_that_fits_into_what_is_left_evicts_none() -> None:
    assert find_room(10, ALL, capacity_bytes=100, used_before_s=1000.0) == Room((), left_bytes=10, fits=True)


def test_the_least_recently_used_models_are_evicted_and_no_more_than_needed() -> None:
    assert find_room(40, ALL, capacity_bytes=100, used_before_s=1000.0) == Room(("old",), left_bytes=40, fits=True)
    two = find_room(41, ALL, capacity_bytes=100, used_before_s=1000.0)
    assert two == Room(("old", "middle"), left_bytes=60, fits=True)


def test_a_model_used_at_or_after_the_given_time_is_kept() -> None:
    kept = find_room(41, ALL, capacity_bytes=100, used_before_s=200.0)
    assert kept == Room((), left_bytes=40, fits=False)
    assert find_room(41, ALL, capacity_bytes=100, used_before_s=200.1).fits


def test_none_is_evicted_where_eviction_is_off() -> None:
    assert find_room(11, ALL, capacity_bytes=100, used_before_s=None) == Room((), left_bytes=10, fits=False)


def test_none_is_evicted_for_a_model_larger_than_everything() -> None:
    assert find_room(101, ALL, capacity_bytes=100, used_before_s=1000.0) == Room((), left_bytes=100, fits=False)


def test_what_is_left_is_never_negative() -> None:
    assert find_room(1, ALL, capacity_bytes=50, used_before_s=None).left_bytes == 0
