from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator

import pytest

from drupelet_host.client.inference.pending import PendingReplies, Resend
from drupelet_host.errors import RemoteError, ReplyTimeoutError
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
