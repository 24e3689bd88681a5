"""One deadline for all that a package makes workers do."""

from __future__ import annotations

import pytest

from drupelet_agent.errors import TimeLimitError, WorkerError, WorkerTimeoutError
from drupelet_agent.install.time_limit import TimeLimit
from drupelet_agent.serving.workers.protocol import GoldenPassed, Message, Ready
from fakes.clock import FakeClock
from fakes.workers import FakeWorker
from support.agent.serving import SPEC


class TimedWorker(FakeWorker):
    """A worker that keeps how long its parent waits."""

    def __init__(self) -> None:
        super().__init__(SPEC)
        self.waits_s: list[float | None] = []

    def receive(self, *, timeout_s: float | None = None) -> Message:
        self.waits_s.append(timeout_s)
        return super().receive(timeout_s=timeout_s)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def limit(clock: FakeClock) -> TimeLimit:
    return TimeLimit(100.0, clock=clock.now_s)


def test_an_answer_is_waited_for_as_long_as_asked_while_there_is_time(limit: TimeLimit) -> None:
    worker = TimedWorker()
    worker.become_ready()
    assert isinstance(limit.expect(worker, Ready, timeout_s=50.0), Ready)
    assert worker.waits_s == [50.0]


def test_a_wait_takes_at_most_half_of_the_time_that_is_left(limit: TimeLimit, clock: FakeClock) -> None:
    worker = TimedWorker()
    for passed_s, wait_s in [(0.0, 50.0), (40.0, 30.0), (50.0, 5.0)]:
        clock.advance(passed_s)
        with pytest.raises(TimeLimitError, match=rf"no answer within {wait_s} s, half of the time .* 100 s"):
            limit.expect(worker, Ready, timeout_s=60.0)
        assert worker.waits_s[-1] == wait_s


def test_a_worker_that_is_slower_than_asked_is_no_matter_of_the_limit(limit: TimeLimit) -> None:
    with pytest.raises(WorkerTimeoutError) as raised:
        limit.expect(TimedWorker(), Ready, timeout_s=1.0)
    assert not isinstance(raised.value, TimeLimitError)


def test_when_the_time_is_over_nothing_is_waited_for(limit: TimeLimit, clock: FakeClock) -> None:
    clock.advance(99.9)
    limit.check()
    clock.advance(0.1)
    with pytest.raises(TimeLimitError, match=r"used up its 100 s .*tuning\.total_seconds"):
        limit.check()
    worker = TimedWorker()
    with pytest.raises(TimeLimitError):
        limit.expect(worker, Ready, timeout_s=1.0)
    assert worker.waits_s == []


def test_an_answer_of_another_type_is_an_error(limit: TimeLimit) -> None:
    for timeout_s in (1.0, 60.0):
        worker = TimedWorker()
        worker.become_ready()
        with pytest.raises(WorkerError, match="GoldenPassed was expected"):
            limit.expect(worker, GoldenPassed, timeout_s=timeout_s)
