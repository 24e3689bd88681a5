"""Bytes that requests in progress may hold."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from drupelet_agent.serving.byte_budget import ByteBudget


def test_a_reservation_beyond_the_limit_is_refused_and_holds_nothing() -> None:
    budget = ByteBudget(100)
    assert budget.reserve(60)
    assert not budget.reserve(41)
    assert budget.held_bytes == 60
    assert budget.reserve(40)


def test_released_bytes_can_be_reserved_again() -> None:
    budget = ByteBudget(100)
    assert budget.reserve(100)
    budget.release(100)
    assert budget.reserve(100)


def test_a_reservation_above_the_limit_is_made_while_nothing_is_held() -> None:
    budget = ByteBudget(100)
    assert budget.reserve(500)
    assert not budget.reserve(1)


@given(st.integers(0, 100), st.lists(st.integers(-100, 100)))
def test_more_than_the_limit_is_held_only_by_a_single_reservation(limit: int, changes: list[int]) -> None:
    budget, held = ByteBudget(limit), list[int]()
    for change in changes:
        if change > 0 and budget.reserve(change):
            held.append(change)
        elif change <= 0 and held:
            budget.release(held.pop())
        assert budget.held_bytes == sum(held)
        assert budget.held_bytes <= limit or len(held) == 1
