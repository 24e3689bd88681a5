"""The bytes of messages in progress."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from drupelet_agent.messaging.memory_budget import MemoryBudget


@given(st.lists(st.integers(0, 50)), st.integers(1, 100))
def test_what_is_held_exceeds_the_limit_by_a_single_reservation_at_the_most(sizes: list[int], limit: int) -> None:
    budget = MemoryBudget(limit)
    reserved = [size for size in sizes if budget.reserve(size)]
    assert budget.held_bytes == sum(reserved)
    assert budget.held_bytes <= limit or len([size for size in reserved if size]) == 1
    for size in reserved:
        budget.release(size)
    assert budget.held_bytes == 0


def test_what_fits_exactly_is_reserved() -> None:
    budget = MemoryBudget(10)
    assert budget.reserve(4)
    assert not budget.reserve(7)
    assert budget.reserve(6)
