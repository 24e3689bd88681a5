"""Requests in flight: each ends exactly once, by its reply, its deadline or the end of the client."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass

from drupelet_host.errors import RemoteError
from drupelet_shared.inference import InferenceReply


@dataclass(frozen=True, slots=True)
class _Waiting:
    future: Future[InferenceReply]
    deadline_s: float
    too_late: RemoteError


class PendingReplies:
    """Futures by Correlation Data; safe to use from several threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: dict[bytes, _Waiting] = {}
        self._open = True
        # A thread of its own: deadlines pass even while the network thread is stuck in a reconnect.
        self._clock = threading.Thread(target=self._expire, name="drupelet-deadlines", daemon=True)
        self._clock.start()

    def add(self, correlation: bytes, *, timeout_s: float, too_late: RemoteError) -> Future[InferenceReply]:
        """Expect a reply.

        Args:
            correlation: What the reply will carry.
            timeout_s: How long to wait.
            too_late: What the future raises then.
        """
        future: Future[InferenceReply] = Future()
        # A running future cannot be cancelled, so whoever ends it never finds it ended already.
        future.set_running_or_notify_cancel()
        with self._changed:
            self._waiting[correlation] = _Waiting(future, time.monotonic() + timeout_s, too_late)
            self._changed.notify()
        return future

    def take(self, correlation: bytes | None) -> Future[InferenceReply] | None:
        """Stop expecting a reply and return its future to be ended; None if nobody waits for it."""
        with self._changed:
            waiting = self._waiting.pop(correlation, None) if correlation is not None else None
        return waiting.future if waiting else None

    def close(self, error: RemoteError) -> None:
        """End whatever is still expected."""
        with self._changed:
            self._open = False
            left, self._waiting = self._waiting, {}
            self._changed.notify()
        for waiting in left.values():
            waiting.future.set_exception(error)
        self._clock.join()

    def _expire(self) -> None:
        while True:
            with self._changed:
                if not self._open:
                    return
                now_s = time.monotonic()
                late = {key: waiting for key, waiting in self._waiting.items() if waiting.deadline_s <= now_s}
                for key in late:
                    del self._waiting[key]
                if not late:
                    next_s = min((waiting.deadline_s for waiting in self._waiting.values()), default=None)
                    self._changed.wait(None if next_s is None else next_s - now_s)
            # Outside the lock, as the callbacks of a future may call back here.
            for waiting in late.values():
                waiting.future.set_exception(waiting.too_late)
