"""What serving relies on in a clock: the event loop's, and the fake that tests use."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from drupelet_agent.serving.clock import Clock, EventLoopClock
from fakes.clock import FakeClock

Pass = Callable[[float], Awaitable[None]]


def run(kind: str, scenario: Callable[[Clock, Pass], Awaitable[None]]) -> None:
    async def on_a_loop() -> None:
        if kind == "event loop":
            await scenario(EventLoopClock(), asyncio.sleep)
        else:
            fake = FakeClock()

            async def advance(seconds: float) -> None:
                fake.advance(seconds)

            await scenario(fake, advance)

    asyncio.run(on_a_loop())


@pytest.fixture(params=["event loop", "fake"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_time_passes(kind: str) -> None:
    async def scenario(clock: Clock, wait: Pass) -> None:
        before_s = clock.now_s()
        await wait(0.02)
        assert clock.now_s() - before_s == pytest.approx(0.02, abs=0.5)
        assert clock.now_s() > before_s

    run(kind, scenario)


def test_actions_run_in_the_order_of_their_times_and_not_before(kind: str) -> None:
    async def scenario(clock: Clock, wait: Pass) -> None:
        done: list[tuple[str, float]] = []
        start_s = clock.now_s()
        for name, due_s in (("late", start_s + 0.03), ("soon", start_s + 0.01)):
            clock.call_at(due_s, lambda name=name: done.append((name, clock.now_s())))  # type: ignore[misc] # bound by its default
        assert done == []
        await wait(0.1)
        assert [name for name, _ in done] == ["soon", "late"]
        # Event loops round to their resolution.
        assert all(at_s >= start_s + 0.0099 for _, at_s in done)

    run(kind, scenario)


def test_an_action_that_is_due_already_runs_after_the_call_has_returned(kind: str) -> None:
    async def scenario(clock: Clock, wait: Pass) -> None:
        done: list[str] = []
        clock.call_at(clock.now_s() - 1, lambda: done.append("a"))
        assert done == []
        await wait(0.01)
        assert done == ["a"]

    run(kind, scenario)


def test_a_cancelled_action_does_not_run(kind: str) -> None:
    async def scenario(clock: Clock, wait: Pass) -> None:
        done: list[str] = []
        clock.call_at(clock.now_s() + 0.01, lambda: done.append("a")).cancel()
        await wait(0.05)
        assert done == []

    run(kind, scenario)
