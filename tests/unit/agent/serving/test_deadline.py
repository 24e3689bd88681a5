"""One pending action whose time moves."""

from __future__ import annotations

from drupelet_agent.serving.workers.deadline import Deadline
from fakes.clock import FakeClock


def test_the_action_runs_once_when_it_is_due() -> None:
    clock, done = FakeClock(), list[str]()
    Deadline(clock).set(2.0, lambda: done.append("a"))
    clock.advance(1.9)
    assert done == []
    clock.advance(10)
    assert done == ["a"]


def test_a_later_time_replaces_an_earlier_one() -> None:
    clock, done = FakeClock(), list[str]()
    deadline = Deadline(clock)
    deadline.set(2.0, lambda: done.append("a"))
    clock.advance(1)
    deadline.set(2.0, lambda: done.append("b"))
    clock.advance(1.5)
    assert done == []
    clock.advance(0.5)
    assert done == ["b"]


def test_an_earlier_time_replaces_a_later_one() -> None:
    clock, done = FakeClock(), list[str]()
    deadline = Deadline(clock)
    deadline.set(60.0, lambda: done.append("a"))
    deadline.set(1.0, lambda: done.append("b"))
    clock.advance(1)
    assert done == ["b"]
    clock.advance(100)
    assert done == ["b"]


def test_a_cleared_action_does_not_run() -> None:
    clock, done = FakeClock(), list[str]()
    deadline = Deadline(clock)
    deadline.set(1.0, lambda: done.append("a"))
    deadline.clear()
    clock.advance(5)
    assert done == []
    assert deadline.due_s is None
    deadline.set(1.0, lambda: done.append("b"))
    clock.advance(1)
    assert done == ["b"]


def test_requests_that_move_the_time_away_share_one_timer() -> None:
    clock = FakeClock()
    deadline = Deadline(clock)
    for _ in range(100):
        deadline.set(5.0, lambda: None)
        clock.advance(0.01)
    assert len(clock._timers) == 1
