"""Where the reply to a message goes, and what of MQTT 5 it carries."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from drupelet_agent.mqtt.message import Message
from drupelet_agent.mqtt.properties import publish_properties
from drupelet_shared.contract.topics import DeviceTopics
from drupelet_shared.contract.wire import CODE_PROPERTY, HEADER_LENGTH_PROPERTY, JSON_TYPE
from drupelet_shared.errors import RequestError

_WILDCARD = re.compile("[+#\0]")


@dataclass(frozen=True, slots=True)
class ReplyAddress:
    """Where a reply goes, what ties it to its request, and whether its reader knows properties as MQTT 5 does."""

    topic: str
    correlation: bytes | None
    qos: int
    takes_properties: bool = True


def default_address(message: Message, *, topic: str) -> ReplyAddress:
    """The address for a message whose own Response Topic is absent or no good."""
    return ReplyAddress(topic=topic, correlation=message.correlation, qos=message.qos)


def reply_address(message: Message, topics: DeviceTopics, default: ReplyAddress) -> ReplyAddress:
    """The address that a message names.

    Raises:
        RequestError: Its Response Topic is malformed, or one that this device itself takes messages from.
    """
    topic = message.response_topic
    if topic is None:
        return replace(default, takes_properties=message.has_properties)
    if not topic or _WILDCARD.search(topic):
        raise RequestError(f"Response Topic {topic!r}: expected a topic name without wildcards")
    if topics.takes(topic):
        raise RequestError(f"Response Topic {topic!r}: replies cannot be sent to a topic that devices take orders from")
    return ReplyAddress(topic=topic, correlation=default.correlation, qos=default.qos)


def reply_properties(
    address: ReplyAddress, *, code: str, content_type: str = JSON_TYPE, header_length: int | None = None
) -> bytes:
    """The properties of a reply; none for a reader that knows none, unless its bytes make no sense without."""
    if not address.takes_properties and header_length is None:
        # Some brokers fail to strip them for a subscriber of MQTT 3.1.1: rumqttd 0.20 drops that connection.
        return b""
    pairs = [(CODE_PROPERTY, code)]
    if header_length is not None:
        pairs.append((HEADER_LENGTH_PROPERTY, str(header_length)))
    return publish_properties(
        content_type=content_type,
        is_text=content_type == JSON_TYPE,
        correlation=address.correlation,
        user_properties=pairs,
    )
