"""Refusals for lack of room leave later and together, within bounds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from drupelet_agent.messaging.refusal_pacing import RefusalPacing
from drupelet_agent.serving.byte_budget import ByteBudget
from fakes.clock import FakeClock


class Bench:
    """A pacing whose refusals are numbers; a segment is what leaves in one corked context."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.budget = ByteBudget(10_000)
        self.sent: list[int] = []
        self.segments: list[int] = []
        self.pacing = RefusalPacing(budget=self.budget, corked=self._corked, clock=self.clock)

    @contextmanager
    def _corked(self) -> Iterator[None]:
        before = len(self.sent)
        yield
        self.segments.append(len(self.sent) - before)

    def add(self, *numbers: int, size: int = 1) -> None:
        for number in numbers:
            self.pacing.add(lambda number=number: self.sent.append(number), size=size)  # type: ignore[misc]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_refusal_leaves_a_fifth_of_a_second_later(bench: Bench) -> None:
    bench.add(1)
    bench.clock.advance(0.19)
    assert bench.sent == []
    bench.clock.advance(0.02)
    assert bench.sent == [1]


def test_refusals_leave_in_their_order_and_each_after_its_own_delay(bench: Bench) -> None:
    bench.add(1)
    bench.clock.advance(0.1)
    bench.add(2)
    bench.clock.advance(0.101)
    assert bench.sent == [1]
    bench.clock.advance(0.1)
    assert bench.sent == [1, 2]


def test_refusals_of_one_moment_leave_together_in_batches_with_pauses(bench: Bench) -> None:
    bench.add(*range(130))
    bench.clock.advance(0.201)
    assert bench.segments == [64]
    bench.clock.advance(0.01)
    assert bench.segments == [64, 64]
    bench.clock.advance(0.01)
    assert (bench.segments, bench.sent) == ([64, 64, 2], list(range(130)))


def test_their_bytes_are_reserved_until_they_leave(bench: Bench) -> None:
    bench.add(1, 2, size=100)
    assert bench.budget.held_bytes == 200
    bench.clock.advance(1)
    assert bench.budget.held_bytes == 0


def test_a_refusal_for_which_no_memory_is_left_leaves_at_once(bench: Bench) -> None:
    bench.add(1, size=10_000)
    bench.add(2, size=1)
    assert bench.sent == [2]


def test_a_refusal_beyond_the_bound_leaves_at_once(bench: Bench) -> None:
    bench.add(*range(1025))
    assert bench.sent == [1024]


def test_pacing_goes_on_after_it_was_empty(bench: Bench) -> None:
    for number in (1, 2):
        bench.add(number)
        bench.clock.advance(1)
    assert bench.sent == [1, 2]
