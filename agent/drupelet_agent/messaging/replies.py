"""The address of a reply, and the MQTT 5 properties that it carries."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from drupelet_agent.mqtt.codec.properties import MOST_PROPERTIES, correlation_property, publish_properties
from drupelet_agent.mqtt.message import Message
from drupelet_shared.contract.response_topic import check_response_topic
from drupelet_shared.contract.topics import DeviceTopics
from drupelet_shared.contract.wire import CODE_PROPERTY, HEADER_LENGTH_PROPERTY, JSON_TYPE
from drupelet_shared.errors import RequestError


@dataclass(frozen=True, slots=True)
class ReplyAddress:
    """The destination of a reply.

    Attributes:
        topic: The topic of the reply.
        correlation: The request's Correlation Data; None if it has none.
        qos: The QoS of the reply.
        takes_properties: Whether the sender of the request knows the properties of MQTT 5.
        default_topic: The topic of a refusal that cannot be sent to `topic`.
    """

    topic: str
    correlation: bytes | None
    qos: int
    default_topic: str
    takes_properties: bool = True


def default_address(message: Message, *, topic: str) -> ReplyAddress:
    """Return the address for a message whose own Response Topic is absent or refused."""
    return ReplyAddress(topic=topic, correlation=message.correlation, qos=min(message.qos, 1), default_topic=topic)


def reply_address(message: Message, topics: DeviceTopics, default: ReplyAddress) -> ReplyAddress:
    """Return the address that a message names.

    Args:
        message: The request.
        topics: The topics of this device.
        default: The address for a message without a Response Topic.

    Raises:
        RequestError: The Response Topic is malformed, or one to which no reply is sent; or the message has so many
            properties that not all were read.
    """
    if not message.has_all_properties:
        raise RequestError(f"the message has more than {MOST_PROPERTIES} properties: send fewer User Properties")
    topic = message.response_topic
    if topic is None:
        takes_properties = message.has_properties
    else:
        check_response_topic(topic, topics)
        takes_properties = True
    return ReplyAddress(
        topic=default.topic if topic is None else topic,
        correlation=default.correlation,
        qos=default.qos,
        default_topic=default.default_topic,
        takes_properties=takes_properties,
    )


def reply_properties(
    address: ReplyAddress, *, code: str, content_type: str = JSON_TYPE, header_length: int | None = None
) -> bytes:
    """Return the properties of a reply; none for a reader that knows none, unless its bytes make no sense without.

    Args:
        address: The destination of the reply.
        code: `ok`, or the code of an error.
        content_type: What the payload is.
        header_length: The length of the JSON part of a binary reply.
    """
    if not address.takes_properties and header_length is None:
        # Some brokers fail to strip them for a subscriber of MQTT 3.1.1: rumqttd 0.20 drops that connection.
        return b""
    properties = _constant_properties(code, content_type, header_length)
    return properties if address.correlation is None else properties + correlation_property(address.correlation)


# The replies of a model are alike, and encoding these properties anew is a fifth of the work for a small request here.
@lru_cache(maxsize=64)
def _constant_properties(code: str, content_type: str, header_length: int | None) -> bytes:
    """Return the properties that do not depend on the request."""
    pairs = [(CODE_PROPERTY, code)]
    if header_length is not None:
        pairs.append((HEADER_LENGTH_PROPERTY, str(header_length)))
    return publish_properties(
        content_type=content_type, is_text=content_type == JSON_TYPE, correlation=None, user_properties=pairs
    )
