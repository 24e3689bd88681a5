"""Requests in flight: each ends exactly once, by its reply, its deadline or the end of the client."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from drupelet_host.errors import RemoteError
from drupelet_shared.inference import InferenceReply


@dataclass(frozen=True, slots=True)
class Again:
    """What to do when a reply has not come after a time, after twice that, four times, and so on."""

    after_s: float
    action: Callable[[], None]


@dataclass(slots=True)
class _Waiting:
    future: Future[InferenceReply]
    deadline_s: float
    too_late: RemoteError
    again: Again | None
    again_s: float | None
    _times: int = 0

    @property
    def next_s(self) -> float:
        """When there is something to do about it."""
        return self.deadline_s if self.again_s is None else min(self.deadline_s, self.again_s)

    def is_due(self, now_s: float) -> bool:
        """Whether the action is due."""
        return self.again_s is not None and self.again_s <= now_s

    def put_off(self, now_s: float) -> Callable[[], None]:
        """The action, which will be due again after twice the time."""
        assert self.again is not None
        self._times += 1
        self.again_s = now_s + self.again.after_s * 2**self._times
        return self.again.action


class PendingReplies:
    """Futures by Correlation Data; safe to use from several threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: dict[bytes, _Waiting] = {}
        self._open = True
        # A thread of its own: deadlines pass even while the network thread is stuck in a reconnect.
        self._clock = threading.Thread(target=self._expire, name="drupelet-deadlines", daemon=True)
        self._clock.start()

    def add(
        self, correlation: bytes, *, timeout_s: float, too_late: RemoteError, again: Again | None = None
    ) -> Future[InferenceReply]:
        """Expect a reply.

        Args:
            correlation: What the reply will carry.
            timeout_s: How long to wait.
            too_late: What the future raises then.
            again: What to do meanwhile if no reply comes.
        """
        future: Future[InferenceReply] = Future()
        # A running future cannot be cancelled, so whoever ends it never finds it ended already.
        future.set_running_or_notify_cancel()
        with self._changed:
            now_s = time.monotonic()
            again_s = now_s + again.after_s if again is not None else None
            self._waiting[correlation] = _Waiting(future, now_s + timeout_s, too_late, again, again_s)
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
                again = [waiting.put_off(now_s) for waiting in self._waiting.values() if waiting.is_due(now_s)]
                if not late and not again:
                    next_s = min((waiting.next_s for waiting in self._waiting.values()), default=None)
                    self._changed.wait(None if next_s is None else next_s - now_s)
            # Outside the lock, as the callbacks of a future may call back here.
            for waiting in late.values():
                waiting.future.set_exception(waiting.too_late)
            for action in again:
                action()
