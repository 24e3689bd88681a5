"""The wait of a request for the broker's acknowledgement of its reply."""

from __future__ import annotations

from collections.abc import Callable

from drupelet_agent.messaging.protocols import Acknowledge
from drupelet_agent.serving.clock import Clock, Timer

_PATIENCE_S = 5.0


class PubackWait:
    """Acknowledges a request before its reply is acknowledged, if that takes long and nothing else helps."""

    __slots__ = ("_acknowledge", "_clock", "_gives_up", "_timer")

    def __init__(self, acknowledge: Acknowledge, *, gives_up: Callable[[], bool], clock: Clock) -> None:
        """Start to wait.

        Args:
            acknowledge: Acknowledges the request; calling it again later has no effect.
            gives_up: Asked every five seconds; returns whether the request is acknowledged now.
            clock: Measures the wait.
        """
        self._acknowledge = acknowledge
        self._gives_up = gives_up
        self._clock = clock
        self._timer: Timer = self._start()

    def end(self) -> None:
        """End the wait: the reply is acknowledged."""
        self._timer.cancel()

    def _start(self) -> Timer:
        return self._clock.call_at(self._clock.now_s() + _PATIENCE_S, self._run_out)

    def _run_out(self) -> None:
        if self._gives_up():
            self._acknowledge()
        else:
            self._timer = self._start()
