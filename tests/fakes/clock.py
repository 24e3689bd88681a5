"""A clock that a test sets."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(order=True)
class FakeTimer:
    """Implements `Timer`."""

    due_s: float
    number: int
    action: Callable[[], None] = field(compare=False)
    cancelled: bool = field(default=False, compare=False)

    def cancel(self) -> None:
        self.cancelled = True


class FakeClock:
    """Implements `Clock`: time passes in `advance` alone, which runs what becomes due in its order."""

    def __init__(self, now_s: float = 1000.0) -> None:
        self._now_s = now_s
        self._numbers = itertools.count()
        self._timers: list[FakeTimer] = []

    def now_s(self) -> float:
        return self._now_s

    def call_at(self, due_s: float, action: Callable[[], None]) -> FakeTimer:
        timer = FakeTimer(due_s, next(self._numbers), action)
        self._timers.append(timer)
        return timer

    def advance(self, seconds: float = 0.0) -> None:
        """Let time pass."""
        until_s = self._now_s + seconds
        while due := [timer for timer in self._timers if timer.due_s <= until_s and not timer.cancelled]:
            timer = min(due)
            self._timers.remove(timer)
            self._now_s = max(self._now_s, timer.due_s)
            timer.action()
        self._now_s = until_s
