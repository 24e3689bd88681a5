"""Publishes replies, and replaces one that the broker does not accept by a refusal that says why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from drupelet_agent.messaging.protocols import Publish
from drupelet_agent.messaging.replies import ReplyAddress, reply_properties
from drupelet_agent.mqtt.message import Publication
from drupelet_agent.mqtt.outcome import PublishOutcome
from drupelet_shared.contract.wire import JSON_TYPE, encode_error, peek_id
from drupelet_shared.errors import OverloadedError, PayloadSizeError, RequestError

OnDone = Callable[[], None]

# Where there is no connection, a replacement could not be sent either.
_WITHOUT_REPLACEMENT = frozenset({PublishOutcome.ACKNOWLEDGED, PublishOutcome.UNSENT})


def _do_nothing() -> None:
    """Ignore that a reply is done."""


class ReplyPublisher:
    """Publishes replies so that each request gets exactly one that the broker accepts.

    On the same topic, a reply that is too large for the broker is replaced by a `payload_too_large` refusal, and one
    for which there is no room by `overloaded`. One that the broker rejects, or that ended the connection several times,
    is replaced by an `invalid_request` refusal on the default topic.
    """

    def __init__(self, publish: Publish, *, on_undeliverable: Callable[[str], None] = lambda _: None) -> None:
        """Create a publisher.

        Args:
            publish: Sends a publication.
            on_undeliverable: Receives the reason of each reply that the broker does not accept.
        """
        self._publish = publish
        self._on_undeliverable = on_undeliverable

    def send(
        self,
        address: ReplyAddress,
        payload: bytes,
        *,
        code: str,
        content_type: str = JSON_TYPE,
        header_length: int | None = None,
        request_head: bytes = b"",
        on_done: OnDone = _do_nothing,
    ) -> None:
        """Publish a reply.

        Args:
            address: The destination.
            payload: The body.
            code: `ok`, or the code of an error.
            content_type: What the payload is.
            header_length: The length of the JSON part of a binary reply.
            request_head: The start of the request, whose `id` a refusal in place of the reply repeats.
            on_done: Called once the broker has acknowledged the reply or its replacement, or has refused both; at QoS 0
                once it is handed to the socket.
        """
        properties = reply_properties(address, code=code, content_type=content_type, header_length=header_length)
        publication = Publication(address.topic, payload, qos=address.qos, properties=properties)
        size = len(payload)

        def conclude(outcome: PublishOutcome, reason: str) -> None:
            if outcome in _WITHOUT_REPLACEMENT:
                on_done()
            else:
                self._replace(address, outcome, f"reply of {size} bytes: {reason}", request_head, on_done)

        self._publish(publication, on_outcome=conclude)

    def _replace(
        self, address: ReplyAddress, outcome: PublishOutcome, reason: str, request_head: bytes, on_done: OnDone
    ) -> None:
        self._on_undeliverable(reason)
        if outcome is PublishOutcome.TOO_LARGE:
            error: RequestError = PayloadSizeError(reason)
        elif outcome is PublishOutcome.NO_ROOM:
            error = OverloadedError(reason)
        else:
            error = RequestError(f"Response Topic {address.topic[:80]!r}: {reason}")
            if address.topic == address.default_topic:
                # The refusal would meet the same end.
                on_done()
                return
            address = replace(address, topic=address.default_topic)
        refusal = Publication(
            address.topic,
            encode_error(error, request_id=peek_id(request_head)),
            qos=address.qos,
            properties=reply_properties(address, code=error.code),
        )
        self._publish(refusal, on_outcome=partial(_conclude_refusal, on_done))


def _conclude_refusal(on_done: OnDone, _outcome: PublishOutcome, _reason: str) -> None:
    """Finish whatever became of the refusal: nothing smaller can be sent."""
    on_done()
