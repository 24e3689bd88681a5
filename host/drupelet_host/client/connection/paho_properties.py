"""Conversion between our messages and those of paho-mqtt."""

from __future__ import annotations

from paho.mqtt.client import MQTTMessage
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from drupelet_host.client.connection.transport import MessageProperties, ReceivedMessage


def read_message(message: MQTTMessage) -> ReceivedMessage:
    """Convert a message that paho received."""
    properties = message.properties
    return ReceivedMessage(
        topic=message.topic,
        payload=bytes(message.payload),
        is_retained=message.retain,
        content_type=getattr(properties, "ContentType", None),
        correlation_data=getattr(properties, "CorrelationData", None),
        user_properties=tuple(getattr(properties, "UserProperty", ())),
    )


def publish_properties(properties: MessageProperties) -> Properties:
    """Convert the properties of a message to publish."""
    converted = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call] # paho leaves it untyped
    if properties.response_topic is not None:
        converted.ResponseTopic = properties.response_topic
    if properties.correlation_data is not None:
        converted.CorrelationData = properties.correlation_data
    if properties.content_type is not None:
        converted.ContentType = properties.content_type
    if properties.expiry_s is not None:
        converted.MessageExpiryInterval = properties.expiry_s
    if properties.is_text:
        converted.PayloadFormatIndicator = 1
    # paho appends each pair that is assigned.
    for pair in properties.user_properties:
        converted.UserProperty = pair
    return converted


def session_expiry(packet_type: int, seconds: int) -> Properties:
    """Make the properties that set the Session Expiry Interval of a CONNECT or DISCONNECT."""
    properties = Properties(packet_type)  # type: ignore[no-untyped-call] # paho leaves it untyped
    properties.SessionExpiryInterval = seconds
    return properties
