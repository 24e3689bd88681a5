"""Requests in flight: each ends exactly once, by its reply, by its deadline or because the client is closed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from drupelet_host.errors import RemoteError
from drupelet_shared.inference import InferenceReply


@dataclass(frozen=True, slots=True)
class Resend:
    """Sends a request again while no reply has come, at intervals that double each time.

    Attributes:
        after_s: The first interval.
        send: Sends the request; called on the deadline thread.
    """

    after_s: float
    send: Callable[[], None]


@dataclass(slots=True)
class _PendingReply:
    future: Future[InferenceReply]
    deadline_s: float
    timeout_error: RemoteError
    resend: Resend | None
    resend_at_s: float | None
    resend_count: int = 0

    @property
    def next_event_s(self) -> float:
        """The time of the next resend or of the deadline."""
        return self.deadline_s if self.resend_at_s is None else min(self.deadline_s, self.resend_at_s)

    def is_resend_due(self, now_s: float) -> bool:
        """Tell whether the request is to be sent again."""
        return self.resend_at_s is not None and self.resend_at_s <= now_s

    def schedule_resend(self, now_s: float) -> Callable[[], None]:
        """Return the action to take now and schedule the next one after twice the interval."""
        assert self.resend is not None
        self.resend_count += 1
        self.resend_at_s = now_s + self.resend.after_s * 2**self.resend_count
        return self.resend.send


class PendingReplies:
    """Futures of replies by Correlation Data; safe to use from several threads.

    A thread of its own ends requests at their deadlines, which therefore pass even while the network thread is busy
    with a reconnect.
    """

    def __init__(self) -> None:
        """Start the deadline thread; `close` ends it."""
        self._changed = threading.Condition()
        self._pending: dict[bytes, _PendingReply] = {}
        self._is_open = True
        self._deadlines = threading.Thread(target=self._run_deadlines, name="drupelet-deadlines", daemon=True)
        self._deadlines.start()

    def add(
        self, correlation: bytes, *, timeout_s: float, timeout_error: RemoteError, resend: Resend | None = None
    ) -> Future[InferenceReply]:
        """Expect a reply.

        Args:
            correlation: The Correlation Data of the reply.
            timeout_s: The time until the deadline.
            timeout_error: The exception of the future at its deadline.
            resend: How to send the request again meanwhile; never by default.

        Returns:
            A future that cannot be cancelled.
        """
        future: Future[InferenceReply] = Future()
        # A running future cannot be cancelled, so it has not ended yet when its reply or its deadline ends it.
        future.set_running_or_notify_cancel()
        with self._changed:
            now_s = time.monotonic()
            resend_at_s = now_s + resend.after_s if resend is not None else None
            self._pending[correlation] = _PendingReply(future, now_s + timeout_s, timeout_error, resend, resend_at_s)
            self._changed.notify()
        return future

    def take(self, correlation: bytes | None) -> Future[InferenceReply] | None:
        """Stop expecting a reply and return its future, which the caller must end; None if none is expected."""
        with self._changed:
            pending = self._pending.pop(correlation, None) if correlation is not None else None
        return pending.future if pending else None

    def close(self, error: RemoteError) -> None:
        """Fail all pending replies with an error and end the deadline thread."""
        with self._changed:
            self._is_open = False
            left, self._pending = self._pending, {}
            self._changed.notify()
        for pending in left.values():
            pending.future.set_exception(error)
        self._deadlines.join()

    def _run_deadlines(self) -> None:
        while True:
            with self._changed:
                if not self._is_open:
                    return
                now_s = time.monotonic()
                expired = {key: pending for key, pending in self._pending.items() if pending.deadline_s <= now_s}
                for key in expired:
                    del self._pending[key]
                resends = [item.schedule_resend(now_s) for item in self._pending.values() if item.is_resend_due(now_s)]
                if not expired and not resends:
                    next_s = min((pending.next_event_s for pending in self._pending.values()), default=None)
                    self._changed.wait(None if next_s is None else next_s - now_s)
            # Outside the lock, because callbacks of a future may call this object.
            for pending in expired.values():
                pending.future.set_exception(pending.timeout_error)
            for send in resends:
                send()
