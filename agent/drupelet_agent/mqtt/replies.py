"""Where the reply to a message goes, and what of MQTT 5 it carries."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from paho.mqtt.client import MQTTMessage
from paho.mqtt.properties import Properties

from drupelet_agent.mqtt.properties import ReplyProperties
from drupelet_shared.errors import RequestError
from drupelet_shared.topics import DeviceTopics
from drupelet_shared.wire import CODE_PROPERTY, HEADER_LENGTH_PROPERTY, JSON_TYPE


@dataclass(frozen=True, slots=True)
class ReplyAddress:
    """Where a reply goes, what ties it to its request, and whether its reader knows properties as MQTT 5 does."""

    topic: str
    correlation: bytes | None
    qos: int
    takes_properties: bool = True


def default_address(message: MQTTMessage, *, topic: str) -> ReplyAddress:
    """The address for a message whose own Response Topic is absent or no good."""
    return ReplyAddress(topic=topic, correlation=read_property(message, "CorrelationData"), qos=message.qos)


def reply_address(message: MQTTMessage, topics: DeviceTopics, default: ReplyAddress) -> ReplyAddress:
    """The address that a message names.

    Raises:
        RequestError: Its Response Topic is malformed, or one that this device itself takes messages from.
    """
    topic = read_property(message, "ResponseTopic")
    if topic is None:
        return replace(default, takes_properties=_has_properties(message))
    if not topic or any(character in topic for character in "+#\0"):
        raise RequestError(f"Response Topic {topic!r}: expected a topic name without wildcards")
    if topics.takes(topic):
        raise RequestError(f"Response Topic {topic!r}: replies cannot be sent to a topic that devices take orders from")
    return ReplyAddress(topic=topic, correlation=default.correlation, qos=default.qos)


def read_property(message: MQTTMessage, name: str) -> Any:  # noqa: ANN401 - paho's properties are dynamic
    """A property of MQTT 5; None if the message has none of that name."""
    return getattr(message.properties, name, None)


def reply_properties(
    address: ReplyAddress, *, code: str, content_type: str = JSON_TYPE, header_length: int | None = None
) -> Properties | None:
    """The properties of a reply; none for a reader that knows none, unless its bytes make no sense without."""
    if not address.takes_properties and header_length is None:
        # Some brokers fail to strip them for a subscriber of MQTT 3.1.1: rumqttd 0.20 drops that connection.
        return None
    pairs = [(CODE_PROPERTY, code)]
    if header_length is not None:
        pairs.append((HEADER_LENGTH_PROPERTY, str(header_length)))
    return ReplyProperties(
        content_type=content_type,
        is_text=content_type == JSON_TYPE,
        correlation=address.correlation,
        user_properties=pairs,
    )


def _has_properties(message: MQTTMessage) -> bool:
    return message.properties is not None and not message.properties.isEmpty()  # type: ignore[no-untyped-call] # paho's
