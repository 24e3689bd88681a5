"""Inference requests: a message becomes a job, the job's outcome a reply, and the reply's end an acknowledgement."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from drupelet_agent.messaging.protocols import Acknowledge
from drupelet_agent.messaging.puback_wait import PubackWait
from drupelet_agent.messaging.refusal_pacing import RefusalPacing
from drupelet_agent.messaging.replies import ReplyAddress, default_address, reply_address
from drupelet_agent.messaging.reply_publisher import ReplyPublisher
from drupelet_agent.mqtt.message import Message
from drupelet_agent.serving.byte_budget import ByteBudget
from drupelet_agent.serving.clock import Clock
from drupelet_agent.serving.job import Job, Outcome, refusal
from drupelet_shared.contract.topics import DeviceTopics
from drupelet_shared.contract.wire import HEADER_LENGTH_PROPERTY, PEEKED_BYTES, peek_id
from drupelet_shared.errors import ModelUnavailableError, OverloadedError, RequestError

# No payload is longer than ten digits say.
_MAX_LENGTH_DIGITS = 10
_DRAIN_POLL_S = 0.01
# A broker may send no PUBACK while it awaits so many of ours: rumqttd 0.20 does so with 100. Agent and broker would
# wait for each other until the keep-alive ends the connection.
_FULL_WINDOW = 64


class JobServer(Protocol):
    """The server of one model."""

    def submit(self, job: Job) -> None:
        """Take a job; its outcome may be passed on before this returns."""


class RequestHandler:
    """Handles the messages of the inference topics; everything runs on the event loop.

    Invariants: each request gets one reply, unless it expires; a QoS 1 request is acknowledged when the broker has
    acknowledged its reply, or has not within five seconds while it awaits 64 acknowledgements; the bytes of requests
    and replies in progress are reserved in the memory budget. A refusal for lack of room is sent a moment later.
    """

    def __init__(
        self,
        topics: DeviceTopics,
        find: Callable[[str, str | None], JobServer],
        *,
        filters: Sequence[str],
        replies: ReplyPublisher,
        budget: ByteBudget,
        corked: Callable[[], AbstractContextManager[None]],
        unacknowledged: Callable[[], int],
        clock: Clock,
    ) -> None:
        """Create a handler.

        Args:
            topics: The topics of this device.
            find: Returns the server of a model and version, or raises a `RequestError`.
            filters: The topic filters of the requests.
            replies: Publishes replies.
            budget: Bounds the bytes of requests and replies in progress.
            corked: Sends what is published within its context at once and in one segment.
            unacknowledged: Returns how many messages the broker awaits the acknowledgement of.
            clock: Limits the wait for the acknowledgement of a reply.
        """
        self.filters = tuple(filters)
        self._topics = topics
        self._find = find
        self._replies = replies
        self._budget = budget
        self._corked = corked
        self._unacknowledged = unacknowledged
        self._clock = clock
        self._refusals = RefusalPacing(budget=budget, corked=corked, clock=clock)
        self._in_progress = 0
        self._is_stopping = False

    @property
    def in_progress(self) -> int:
        """How many requests wait, are at work, or await the acknowledgement of their reply."""
        return self._in_progress

    def handle(self, message: Message, acknowledge: Acknowledge) -> None:
        """Submit a request to its model, or refuse it at once."""
        addressed = self._topics.parse_infer(message.topic)
        if addressed is None:
            acknowledge()
            return
        self._in_progress += 1
        address = default_address(message, topic=self._topics.result(addressed.model))
        size, head = _held_bytes(message), message.payload[:PEEKED_BYTES]
        reserved = 0

        def finish(outcome: Outcome) -> None:
            self._finish(address, outcome, reserved, head, acknowledge)

        try:
            address = reply_address(message, self._topics, address)
            header_length = _header_length(message)
            server = self._find(addressed.model, addressed.version)
            self._reserve(size)
            reserved = size
        except RequestError as error:
            error.request_id = peek_id(head)
            finish(refusal(error))
            return
        server.submit(_make_job(message, header_length, finish))

    def stop(self) -> None:
        """Leave QoS 1 requests that no model can serve any more with the broker, for the next agent."""
        self._is_stopping = True

    async def drain(self, *, timeout_s: float) -> None:
        """Wait until every request is done, for at most `timeout_s`; the others stay with the broker."""
        deadline_s = time.monotonic() + timeout_s
        # Only when the agent stops, so not worth an event of its own.
        while self._in_progress and time.monotonic() < deadline_s:  # noqa: ASYNC110 - see above
            await asyncio.sleep(_DRAIN_POLL_S)

    def _finish(
        self, address: ReplyAddress, outcome: Outcome, reserved: int, head: bytes, acknowledge: Acknowledge
    ) -> None:
        """Send the reply to a request, whose bytes are no longer needed."""
        self._budget.release(reserved)
        if outcome.payload is None:
            self._in_progress -= 1
            acknowledge()
            return
        if self._is_stopping and address.qos and outcome.code == ModelUnavailableError.code:
            self._in_progress -= 1
            return
        outcome, held = self._hold(outcome, head)

        def send() -> None:
            self._send(address, outcome, held, head, acknowledge)

        if outcome.code == OverloadedError.code:
            self._refusals.add(send, size=len(address.correlation or b"") + len(address.topic))
            return
        # One segment wakes the broker once.
        with self._corked():
            send()

    def _send(self, address: ReplyAddress, outcome: Outcome, held: int, head: bytes, acknowledge: Acknowledge) -> None:
        wait = PubackWait(acknowledge, gives_up=self._is_deadlock_possible, clock=self._clock) if address.qos else None

        def done() -> None:
            if wait is not None:
                wait.end()
            self._budget.release(held)
            self._in_progress -= 1
            acknowledge()

        assert outcome.payload is not None
        self._replies.send(
            address,
            outcome.payload,
            code=outcome.code,
            content_type=outcome.content_type,
            header_length=outcome.header_length,
            request_head=head,
            on_done=done,
        )

    def _is_deadlock_possible(self) -> bool:
        """Return whether the broker may hold back its acknowledgements until it has more of the agent's."""
        return self._unacknowledged() >= _FULL_WINDOW and not self._is_stopping

    def _hold(self, outcome: Outcome, head: bytes) -> tuple[Outcome, int]:
        """Reserve memory for a reply until the broker has it, or replace it by a refusal."""
        size = len(outcome.payload or b"")
        try:
            self._reserve(size)
        except OverloadedError as error:
            error.request_id = peek_id(head)
            return refusal(error), 0
        return outcome, size

    def _reserve(self, size: int) -> None:
        budget = self._budget
        if not budget.reserve(size):
            raise OverloadedError(
                f"{size} bytes more: requests and replies of {budget.held_bytes} bytes are in progress, the limit is "
                f"{budget.limit_bytes}; ask again later"
            )


def _held_bytes(message: Message) -> int:
    """Return how many bytes of a request are held until its reply is there."""
    return len(message.payload) + len(message.correlation or b"") + len(message.response_topic or "")


def _make_job(message: Message, header_length: int | None, finish: Callable[[Outcome], None]) -> Job:
    now_s = time.monotonic()
    expiry_s = message.expiry_s
    return Job(
        payload=message.payload,
        content_type=message.content_type,
        header_length=header_length,
        received_s=now_s,
        deadline_s=None if expiry_s is None else now_s + expiry_s,
        finish=finish,
    )


def _header_length(message: Message) -> int | None:
    for name, value in message.user_properties:
        if name == HEADER_LENGTH_PROPERTY:
            if not (value.isascii() and value.isdigit() and len(value) <= _MAX_LENGTH_DIGITS):
                raise RequestError(
                    f"User Property {HEADER_LENGTH_PROPERTY} is {value[:32]!r}: expected a number of bytes"
                )
            return int(value)
    return None
