"""Requests in flight: each ends exactly once, by its reply, by its deadline or because the client is closed."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial

from drupelet_host.errors import RemoteError
from drupelet_shared.inference import InferenceReply

# Times of requests that have ended are dropped when they come; this many more than requests are kept until then.
_MOST_ENDED = 1024


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

    def schedule_resend(self, now_s: float) -> Callable[[], None]:
        """Return the action to take now and schedule the next one after twice the interval."""
        assert self.resend is not None
        self.resend_count += 1
        self.resend_at_s = now_s + self.resend.after_s * 2**self.resend_count
        return self.resend.send


class PendingReplies:
    """Futures of replies by Correlation Data; safe to use from several threads.

    A thread of its own ends requests at their deadlines, which therefore pass even while the network thread is busy
    with a reconnect. It wakes up for the next time alone: thousands of requests may be in flight.
    """

    def __init__(self) -> None:
        """Start the deadline thread; `close` ends it."""
        self._changed = threading.Condition()
        self._pending: dict[bytes, _PendingReply] = {}
        # A heap of the next time of each request. The count keeps requests of the same time in order.
        self._times: list[tuple[float, int, bytes]] = []
        self._count = itertools.count()
        self._closed: RemoteError | None = None
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

        Raises:
            RemoteError: The client is closed: nothing would end the future.
        """
        future: Future[InferenceReply] = Future()
        # A running future cannot be cancelled, so it has not ended yet when its reply or its deadline ends it.
        future.set_running_or_notify_cancel()
        with self._changed:
            if self._closed is not None:
                raise RemoteError(str(self._closed))
            now_s = time.monotonic()
            resend_at_s = now_s + resend.after_s if resend is not None else None
            pending = _PendingReply(future, now_s + timeout_s, timeout_error, resend, resend_at_s)
            self._pending[correlation] = pending
            self._schedule(correlation, pending)
        return future

    def take(self, correlation: bytes | None) -> Future[InferenceReply] | None:
        """Stop expecting a reply and return its future, which the caller must end; None if none is expected."""
        with self._changed:
            pending = self._pending.pop(correlation, None) if correlation is not None else None
        return pending.future if pending else None

    def close(self, error: RemoteError) -> None:
        """Fail all replies with an error, those that are pending and those to come, and end the deadline thread."""
        with self._changed:
            self._closed = error
            left, self._pending = self._pending, {}
            self._changed.notify()
        for pending in left.values():
            pending.future.set_exception(error)
        # A callback of a future may close the client on the deadline thread itself.
        if threading.current_thread() is not self._deadlines:
            self._deadlines.join()

    def _schedule(self, correlation: bytes, pending: _PendingReply) -> None:
        if len(self._times) > 2 * len(self._pending) + _MOST_ENDED:
            self._times = [entry for entry in self._times if entry[2] in self._pending]
            heapq.heapify(self._times)
        entry = (pending.next_event_s, next(self._count), correlation)
        heapq.heappush(self._times, entry)
        if self._times[0] is entry:
            self._changed.notify()

    def _run_deadlines(self) -> None:
        while True:
            with self._changed:
                if self._closed is not None:
                    return
                due = self._take_due(time.monotonic())
                if not due:
                    next_s = self._times[0][0] if self._times else None
                    self._changed.wait(None if next_s is None else max(0.0, next_s - time.monotonic()))
            # Outside the lock, because callbacks of a future may call this object.
            for action in due:
                action()

    def _take_due(self, now_s: float) -> list[Callable[[], None]]:
        """Return what is due: requests to fail and requests to send again."""
        due: list[Callable[[], None]] = []
        while self._times and self._times[0][0] <= now_s:
            _, _, correlation = heapq.heappop(self._times)
            pending = self._pending.get(correlation)
            if pending is None:
                continue
            if pending.deadline_s <= now_s:
                del self._pending[correlation]
                due.append(partial(pending.future.set_exception, pending.timeout_error))
            else:
                due.append(partial(self._send, correlation, pending.schedule_resend(now_s)))
                self._schedule(correlation, pending)
        return due

    def _send(self, correlation: bytes, send: Callable[[], None]) -> None:
        try:
            send()
        except Exception as error:  # noqa: BLE001 - it is the request's, and must not end those of others
            future = self.take(correlation)
            if future is not None:
                future.set_exception(error)
