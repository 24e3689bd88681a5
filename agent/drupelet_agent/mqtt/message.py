"""Received messages and publications.

They are named tuples, whose creation is several times faster than that of frozen dataclasses: there are two for each
request.
"""

from __future__ import annotations

from typing import NamedTuple


class Message(NamedTuple):
    """A received message (MQTT 5, section 3.3).

    Attributes:
        topic: The topic to which it was published.
        payload: The application's bytes.
        qos: The QoS at which it was received: 0 or 1.
        retain: Whether it is a retained message.
        dup: Whether the broker may have sent it before.
        mid: The Packet Identifier; 0 at QoS 0.
        has_properties: Whether its sender set any property, and so speaks MQTT 5.
        response_topic: The topic for the reply.
        correlation: The Correlation Data, which the reply repeats.
        content_type: The type of the payload.
        expiry_s: Seconds after which the message is no longer of use.
        user_properties: Pairs of name and value, in order.
        has_all_properties: Whether all of its properties were read; False for more than 256 of them.
    """

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    dup: bool = False
    mid: int = 0
    has_properties: bool = False
    response_topic: str | None = None
    correlation: bytes | None = None
    content_type: str | None = None
    expiry_s: int | None = None
    user_properties: tuple[tuple[str, str], ...] = ()
    has_all_properties: bool = True


class Publication(NamedTuple):
    """A message to publish.

    Attributes:
        topic: The topic.
        payload: The application's bytes.
        qos: 0 or 1.
        retain: Whether the broker keeps it for later subscribers.
        properties: The properties, as `publish_properties` encodes them.
    """

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False
    properties: bytes = b""
