"""A request whose reply the broker does not acknowledge."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from drupelet_agent.messaging.puback_wait import PubackWait
from fakes.clock import FakeClock


@dataclass
class Bench:
    """One wait; `deadlock` says whether waiting any longer is of no use."""

    deadlock: bool = False
    acknowledged: int = 0
    clock: FakeClock = field(default_factory=FakeClock)

    def __post_init__(self) -> None:
        self.wait = PubackWait(self._acknowledge, gives_up=lambda: self.deadlock, clock=self.clock)

    def _acknowledge(self) -> None:
        self.acknowledged += 1


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_request_is_acknowledged_after_five_seconds_in_a_deadlock(bench: Bench) -> None:
    bench.deadlock = True
    bench.clock.advance(4.9)
    assert bench.acknowledged == 0
    bench.clock.advance(0.1)
    assert bench.acknowledged == 1
    bench.clock.advance(60)
    assert bench.acknowledged == 1


def test_without_a_deadlock_the_wait_goes_on_and_asks_again_every_five_seconds(bench: Bench) -> None:
    bench.clock.advance(14)
    assert bench.acknowledged == 0
    bench.deadlock = True
    bench.clock.advance(1)
    assert bench.acknowledged == 1


def test_a_wait_that_has_ended_acknowledges_nothing(bench: Bench) -> None:
    bench.deadlock = True
    bench.wait.end()
    bench.clock.advance(60)
    assert bench.acknowledged == 0


def test_a_wait_can_end_after_it_was_extended(bench: Bench) -> None:
    bench.clock.advance(5)
    bench.wait.end()
    bench.deadlock = True
    bench.clock.advance(60)
    assert bench.acknowledged == 0
