"""The clock that serving reads: a protocol, so that tests can set the time, and the event loop's clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """An action that is due later."""

    def cancel(self) -> None:
        """Prevent the action; it has no effect afterwards."""


class Clock(Protocol):
    """A monotonic clock that runs actions when they are due."""

    def now_s(self) -> float:
        """Return the time in seconds; only differences have a meaning."""

    def call_at(self, due_s: float, action: Callable[[], None]) -> Timer:
        """Run an action once, no earlier than `due_s` and never before this returns."""


class EventLoopClock:
    """The monotonic clock, with the running event loop's timers: both read CLOCK_MONOTONIC."""

    def now_s(self) -> float:
        """Return the monotonic time in seconds."""
        return time.monotonic()

    def call_at(self, due_s: float, action: Callable[[], None]) -> Timer:
        """Run an action on the running event loop once it is due."""
        return asyncio.get_running_loop().call_at(due_s, action)
