"""Inference requests: an MQTT message becomes a job, its outcome becomes a reply and an acknowledgement."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from paho.mqtt.client import MQTTMessage
from paho.mqtt.properties import Properties

from drupelet_agent.mqtt.acknowledgements import Acknowledgements
from drupelet_agent.mqtt.connection import Publication
from drupelet_agent.mqtt.properties import ReplyProperties
from drupelet_agent.serving.job import Job, Outcome, refusal
from drupelet_agent.serving.model import ModelServer
from drupelet_shared.errors import RequestError
from drupelet_shared.topics import DeviceTopics
from drupelet_shared.wire import CODE_PROPERTY, HEADER_LENGTH_PROPERTY, JSON_TYPE, peek_id

log = logging.getLogger(__name__)

# No payload is longer than ten digits say.
_MAX_LENGTH_DIGITS = 10


@dataclass(frozen=True, slots=True)
class ReplyAddress:
    """Where a reply goes, what ties it to its request, and whether its reader knows properties as MQTT 5 does."""

    topic: str
    correlation: bytes | None
    qos: int
    takes_properties: bool = True


class RequestRouter:
    """Takes messages of the inference topics; everything runs on the event loop."""

    def __init__(
        self,
        topics: DeviceTopics,
        find: Callable[[str, str | None], ModelServer],
        *,
        publish: Callable[[Publication], None],
        acknowledge: Callable[[int], None],
    ) -> None:
        self._topics = topics
        self._find = find
        self._publish = publish
        self._acknowledgements = Acknowledgements(acknowledge)
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

    def route(self, message: MQTTMessage) -> None:
        """Submit a request to its model, or answer at once with what is wrong with it."""
        if not self._open:
            return
        if message.qos > 0 and not self._acknowledgements.is_new(message.mid, duplicate=message.dup):
            return
        addressed = self._topics.parse_infer(message.topic)
        # A retained request would come back at every start; not every broker knows how to hold them back.
        if addressed is None or message.retain:
            log.debug("ignored topic=%s bytes=%d", message.topic, len(message.payload))
            self._acknowledgements.done(message.mid)
            return
        address = ReplyAddress(
            topic=self._topics.result(addressed.model),
            correlation=_property(message, "CorrelationData"),
            qos=message.qos,
        )

        def finish(outcome: Outcome) -> None:
            self._finish(message, address, outcome)

        try:
            address = self._address(message, address)
            job = _read_job(message, finish)
            self._find(addressed.model, addressed.version).submit(job)
        except RequestError as error:
            error.request_id = peek_id(bytes(message.payload))
            finish(refusal(error))

    def _address(self, message: MQTTMessage, default: ReplyAddress) -> ReplyAddress:
        topic = _property(message, "ResponseTopic")
        if topic is None:
            return replace(default, takes_properties=_has_properties(message))
        if not topic or any(character in topic for character in "+#\0"):
            raise RequestError(f"Response Topic {topic!r}: expected a topic name without wildcards")
        if self._topics.parse_infer(topic) is not None:
            raise RequestError(f"Response Topic {topic!r}: replies cannot be sent to an inference topic")
        return ReplyAddress(topic=topic, correlation=default.correlation, qos=default.qos)

    def _finish(self, message: MQTTMessage, address: ReplyAddress, outcome: Outcome) -> None:
        if outcome.payload is not None:
            self._publish(
                Publication(
                    topic=address.topic,
                    payload=outcome.payload,
                    qos=min(address.qos, 1),
                    properties=_reply_properties(address, outcome),
                )
            )
        if message.qos > 0:
            self._acknowledgements.done(message.mid)


def _read_job(message: MQTTMessage, finish: Callable[[Outcome], None]) -> Job:
    now_s = time.monotonic()
    expiry_s = _property(message, "MessageExpiryInterval")
    return Job(
        payload=bytes(message.payload),
        content_type=_property(message, "ContentType"),
        header_length=_header_length(message),
        received_s=now_s,
        deadline_s=None if expiry_s is None else now_s + expiry_s,
        finish=finish,
    )


def _header_length(message: MQTTMessage) -> int | None:
    for name, value in _property(message, "UserProperty") or ():
        if name == HEADER_LENGTH_PROPERTY:
            if not (value.isascii() and value.isdigit() and len(value) <= _MAX_LENGTH_DIGITS):
                raise RequestError(
                    f"User Property {HEADER_LENGTH_PROPERTY} is {value[:32]!r}: expected a number of bytes"
                )
            return int(value)
    return None


def _has_properties(message: MQTTMessage) -> bool:
    return message.properties is not None and not message.properties.isEmpty()  # type: ignore[no-untyped-call] # as above


def _property(message: MQTTMessage, name: str) -> Any:  # noqa: ANN401 - paho's properties are dynamic
    return getattr(message.properties, name, None)


def _reply_properties(address: ReplyAddress, outcome: Outcome) -> Properties | None:
    if not address.takes_properties and outcome.header_length is None:
        # Some brokers fail to strip them for a subscriber of MQTT 3.1.1: rumqttd 0.20 drops that connection.
        return None
    pairs = [(CODE_PROPERTY, outcome.code)]
    if outcome.header_length is not None:
        pairs.append((HEADER_LENGTH_PROPERTY, str(outcome.header_length)))
    return ReplyProperties(
        content_type=outcome.content_type,
        is_text=outcome.content_type == JSON_TYPE,
        correlation=address.correlation,
        user_properties=pairs,
    )
