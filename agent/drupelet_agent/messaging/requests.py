"""Inference requests: an MQTT message becomes a job, its outcome becomes a reply and an acknowledgement."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from drupelet_agent.messaging.acknowledgements import Acknowledgements
from drupelet_agent.messaging.replies import ReplyAddress, default_address, reply_address, reply_properties
from drupelet_agent.mqtt.message import Message, Publication
from drupelet_agent.serving.job import Job, Outcome, refusal
from drupelet_agent.serving.server import ModelServer
from drupelet_shared.contract.topics import DeviceTopics
from drupelet_shared.contract.wire import HEADER_LENGTH_PROPERTY, peek_id
from drupelet_shared.errors import RequestError

log = logging.getLogger(__name__)

# No payload is longer than ten digits say.
_MAX_LENGTH_DIGITS = 10


class RequestRouter:
    """Takes messages of the inference topics; everything runs on the event loop."""

    def __init__(
        self,
        topics: DeviceTopics,
        find: Callable[[str, str | None], ModelServer],
        *,
        publish: Callable[[Publication], None],
        acknowledge: Callable[[int], None],
        together: Callable[[], AbstractContextManager[None]],
        other: Callable[[Message], None],
    ) -> None:
        """Make a router.

        Args:
            topics: The device's topics.
            find: The server for a model and version.
            publish: Sends a reply.
            acknowledge: Tells the broker that a message is dealt with.
            together: What is published and acknowledged within leaves together.
            other: Takes messages of other topics; they count as dealt with when it returns.
        """
        self._topics = topics
        self._find = find
        self._publish = publish
        self._together = together
        self._acknowledgements = Acknowledgements(acknowledge)
        self._other = other
        self._open = True

    def close(self) -> None:
        """Take no more requests; those that arrive stay with the broker, unacknowledged, for the next agent."""
        self._open = False

    def connected(self, *, session_present: bool) -> None:
        """After a reconnect the broker sends again what was not acknowledged, or has forgotten it with the session."""
        if session_present:
            self._acknowledgements.connection_lost()
        else:
            self._acknowledgements.session_lost()

    def route(self, message: Message) -> None:
        """Submit a request to its model, or answer at once with what is wrong with it."""
        if not self._open:
            return
        # Without Correlation Data nothing tells a repetition from another request like it.
        identity = message.correlation and (message.topic, message.response_topic, message.correlation)
        if message.qos > 0 and not self._acknowledgements.is_new(message.mid, duplicate=message.dup, identity=identity):
            return
        addressed = self._topics.parse_infer(message.topic)
        # A retained request would come back at every start; not every broker knows how to hold them back.
        if addressed is None or message.retain:
            if addressed is None:
                self._other(message)
            self._acknowledgements.done(message.mid)
            return
        address = default_address(message, topic=self._topics.result(addressed.model))

        def finish(outcome: Outcome) -> None:
            self._finish(message, address, outcome)

        try:
            address = reply_address(message, self._topics, address)
            job = _read_job(message, finish)
            self._find(addressed.model, addressed.version).submit(job)
        except RequestError as error:
            error.request_id = peek_id(message.payload)
            finish(refusal(error))

    def _finish(self, message: Message, address: ReplyAddress, outcome: Outcome) -> None:
        # One segment wakes the broker once.
        with self._together():
            if outcome.payload is not None:
                properties = reply_properties(
                    address,
                    code=outcome.code,
                    content_type=outcome.content_type,
                    header_length=outcome.header_length,
                )
                self._publish(
                    Publication(address.topic, outcome.payload, qos=min(address.qos, 1), properties=properties)
                )
            if message.qos > 0:
                self._acknowledgements.done(message.mid)


def _read_job(message: Message, finish: Callable[[Outcome], None]) -> Job:
    now_s = time.monotonic()
    expiry_s = message.expiry_s
    return Job(
        payload=message.payload,
        content_type=message.content_type,
        header_length=_header_length(message),
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
