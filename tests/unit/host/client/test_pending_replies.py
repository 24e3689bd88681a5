from __future__ import annotations

import queue
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator

import pytest

from drupelet_host.client.inference.pending import PendingReplies, Resend
from drupelet_host.errors import RemoteError, ReplyTimeoutError
from drupelet_shared.errors import PayloadSizeError
from drupelet_shared.inference import InferenceReply

REPLY = InferenceReply(model_name="digits", outputs={})
LATE = ReplyTimeoutError("too late")


@pytest.fixture
def pending() -> Iterator[PendingReplies]:
    replies = PendingReplies()
    yield replies
    replies.close(RemoteError("closed"))


def test_a_future_is_taken_by_its_correlation_data_and_only_once(pending: PendingReplies) -> None:
    first = pending.add(b"1", timeout_s=60, timeout_error=LATE)
    second = pending.add(b"2", timeout_s=60, timeout_error=LATE)
    assert pending.take(b"2") is second
    assert pending.take(b"2") is None
    assert pending.take(b"1") is first
    first.set_result(REPLY)
    second.set_result(REPLY)


@pytest.mark.parametrize("correlation", [None, b"", b"unknown"])
def test_no_future_belongs_to_other_correlation_data(pending: PendingReplies, correlation: bytes | None) -> None:
    pending.add(b"1", timeout_s=60, timeout_error=LATE)
    assert pending.take(correlation) is None


def test_a_future_fails_at_its_deadline_and_not_before(pending: PendingReplies) -> None:
    start = time.monotonic()
    late = pending.add(b"late", timeout_s=0.3, timeout_error=LATE)
    # A later deadline that is added first must not hold the earlier one up, nor the other way round.
    pending.add(b"later", timeout_s=60, timeout_error=LATE)
    early = pending.add(b"early", timeout_s=0.1, timeout_error=ReplyTimeoutError("early"))
    assert isinstance(early.exception(timeout=5), ReplyTimeoutError)
    assert time.monotonic() - start >= 0.1
    assert not late.done()
    assert late.exception(timeout=5) is LATE
    assert time.monotonic() - start >= 0.3
    assert pending.take(b"late") is None


def test_a_taken_future_does_not_fail_at_its_deadline(pending: PendingReplies) -> None:
    pending.add(b"1", timeout_s=0.05, timeout_error=LATE)
    future = pending.take(b"1")
    time.sleep(0.15)
    assert future is not None
    assert not future.done()


def test_a_future_cannot_be_cancelled(pending: PendingReplies) -> None:
    assert pending.add(b"1", timeout_s=60, timeout_error=LATE).cancel() is False


def test_a_request_is_sent_again_at_intervals_that_double(pending: PendingReplies) -> None:
    times_s: queue.SimpleQueue[float] = queue.SimpleQueue()
    start = time.monotonic()
    resend = Resend(0.1, lambda: times_s.put(time.monotonic() - start))
    pending.add(b"1", timeout_s=60, timeout_error=LATE, resend=resend)
    sent = [times_s.get(timeout=5) for _ in range(3)]
    assert sent == pytest.approx([0.1, 0.3, 0.7], abs=0.09)


def test_a_request_is_not_sent_again_once_it_has_its_reply(pending: PendingReplies) -> None:
    sent = threading.Event()
    pending.add(b"1", timeout_s=60, timeout_error=LATE, resend=Resend(0.1, sent.set))
    pending.take(b"1")
    assert not sent.wait(0.25)


def test_closing_fails_what_is_pending_and_ends_the_thread() -> None:
    before = threading.active_count()
    replies = PendingReplies()
    futures = [replies.add(bytes([number]), timeout_s=60, timeout_error=LATE) for number in range(3)]
    error = RemoteError("closed")
    replies.close(error)
    assert [future.exception(timeout=0) for future in futures] == [error] * 3
    assert threading.active_count() == before


def test_a_callback_of_an_expired_future_may_add_another_request(pending: PendingReplies) -> None:
    added: queue.SimpleQueue[object] = queue.SimpleQueue()
    future = pending.add(b"1", timeout_s=0.05, timeout_error=LATE)
    future.add_done_callback(lambda _: added.put(pending.add(b"2", timeout_s=60, timeout_error=LATE)))
    assert added.get(timeout=5) is pending.take(b"2")


def test_nothing_is_expected_once_it_is_closed() -> None:
    replies = PendingReplies()
    replies.close(RemoteError("closed"))
    with pytest.raises(RemoteError, match="closed"):
        replies.add(b"1", timeout_s=60, timeout_error=LATE)


def test_a_resend_that_fails_is_the_end_of_its_request_and_of_no_other(pending: PendingReplies) -> None:
    def fail() -> None:
        raise PayloadSizeError("the broker takes smaller packets than before")

    failing = pending.add(b"1", timeout_s=60, timeout_error=LATE, resend=Resend(0.05, fail))
    assert isinstance(failing.exception(timeout=5), PayloadSizeError)
    other = pending.add(b"2", timeout_s=0.05, timeout_error=LATE)
    assert other.exception(timeout=5) is LATE


def test_a_callback_on_the_deadline_thread_may_close(pending: PendingReplies) -> None:
    closed = threading.Event()

    def close(_: object) -> None:
        pending.close(RemoteError("closed"))
        closed.set()

    pending.add(b"1", timeout_s=0.05, timeout_error=LATE).add_done_callback(close)
    assert closed.wait(5)


def test_thousands_of_requests_wake_the_thread_rarely_and_are_not_kept_once_they_have_ended() -> None:
    replies = CountingReplies()
    for number in range(5000):
        replies.add(number.to_bytes(4, "big"), timeout_s=3600 + number, timeout_error=LATE)
    # The thread wakes up for the first, whose time comes before all others.
    assert replies.looks < 100
    for number in range(5000):
        replies.take(number.to_bytes(4, "big"))
    tracemalloc.start()
    for number in range(5000, 15_000):
        replies.add(number.to_bytes(4, "big"), timeout_s=3600, timeout_error=LATE)
        replies.take(number.to_bytes(4, "big"))
    held_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held_bytes < 2**20
    replies.close(RemoteError("closed"))


class CountingReplies(PendingReplies):
    """Counts how often the deadline thread looks for what is due."""

    looks = 0

    def _take_due(self, now_s: float) -> list[Callable[[], None]]:
        self.looks += 1
        return super()._take_due(now_s)
