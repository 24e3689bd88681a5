"""One pending action whose time moves with each request."""

from __future__ import annotations

from collections.abc import Callable

from drupelet_agent.serving.clock import Clock, Timer


class Deadline:
    """At most one pending action.

    Each request moves the time further away. A timer that looks again when it fires is cheaper than one timer a
    request.
    """

    def __init__(self, clock: Clock) -> None:
        """Create it with nothing pending.

        Args:
            clock: The clock that runs the action.
        """
        self._clock = clock
        self._due_s: float | None = None
        self._action: Callable[[], None] | None = None
        self._timer: Timer | None = None
        self._fires_s = 0.0

    @property
    def due_s(self) -> float | None:
        """When the action is due, on the clock; None if nothing is pending."""
        return self._due_s

    def set(self, delay_s: float, action: Callable[[], None]) -> None:
        """Run an action after a delay, in place of the pending one."""
        self._action = action
        self._due_s = self._clock.now_s() + delay_s
        if self._timer is None or self._fires_s > self._due_s:
            if self._timer is not None:
                self._timer.cancel()
            self._start_timer(self._due_s)

    def clear(self) -> None:
        """Drop the pending action."""
        self._due_s = None

    def _start_timer(self, due_s: float) -> None:
        self._fires_s = due_s
        self._timer = self._clock.call_at(due_s, self._fire)

    def _fire(self) -> None:
        self._timer = None
        if self._due_s is None:
            return
        if self._clock.now_s() < self._due_s:
            self._start_timer(self._due_s)
            return
        self._due_s = None
        assert self._action is not None
        self._action()
