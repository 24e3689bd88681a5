"""Delays refusals for lack of room, so that clients that ask again at once do not keep the agent busy."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager

from drupelet_agent.serving.byte_budget import ByteBudget
from drupelet_agent.serving.clock import Clock

# Longer than most inferences: a client that repeats a refused request gets no more turns than one that waits.
_DELAY_S = 0.2
# Other requests are handled between two batches.
_BATCH = 64
_PAUSE_S = 0.01
_MOST_WAITING = 1024


class RefusalPacing:
    """Sends each refusal a fifth of a second later, many in one segment; everything runs on the event loop.

    A flooded model refuses as fast as its clients ask, and a refusal costs the agent and the broker as much time as a
    small reply, for which requests to other models would wait. Invariant: what waits is bounded in count, and its bytes
    are reserved in the memory budget; beyond either bound a refusal is sent at once.
    """

    def __init__(self, *, budget: ByteBudget, corked: Callable[[], AbstractContextManager[None]], clock: Clock) -> None:
        """Start without refusals.

        Args:
            budget: Bounds the bytes of what waits.
            corked: Sends what is published within its context in one segment.
            clock: Measures the delay.
        """
        self._budget = budget
        self._corked = corked
        self._clock = clock
        self._waiting: deque[tuple[float, int, Callable[[], None]]] = deque()

    def add(self, send: Callable[[], None], *, size: int) -> None:
        """Send a refusal after the delay.

        Args:
            send: Sends it.
            size: The bytes that are held until then.
        """
        if len(self._waiting) >= _MOST_WAITING or not self._budget.reserve(size):
            send()
            return
        self._waiting.append((self._clock.now_s() + _DELAY_S, size, send))
        if len(self._waiting) == 1:
            self._wait(_DELAY_S)

    def _wait(self, seconds: float) -> None:
        self._clock.call_at(self._clock.now_s() + seconds, self._send_due)

    def _send_due(self) -> None:
        now_s = self._clock.now_s()
        with self._corked():
            for _ in range(_BATCH):
                if not self._waiting or self._waiting[0][0] > now_s:
                    break
                _, size, send = self._waiting.popleft()
                self._budget.release(size)
                send()
        if self._waiting:
            self._wait(max(_PAUSE_S, self._waiting[0][0] - now_s))
