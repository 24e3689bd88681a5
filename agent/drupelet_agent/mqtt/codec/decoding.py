"""Decodes the packets of MQTT 5 that a client receives at QoS 0 and 1 (section 3)."""

from __future__ import annotations

from dataclasses import dataclass

from drupelet_agent.mqtt.codec.encoding import read_number, read_text
from drupelet_agent.mqtt.codec.packets import AUTH, CONNACK, DISCONNECT, PINGRESP, PUBACK, SUBACK
from drupelet_agent.mqtt.codec.properties import (
    IN_ACKNOWLEDGEMENT,
    IN_CONNACK,
    IN_DISCONNECT,
    IN_PUBLISH,
    Properties,
    read_properties,
)
from drupelet_agent.mqtt.errors import MalformedPacketError, ProtocolError, TopicAliasError
from drupelet_agent.mqtt.message import Message

_RETAIN, _DUP = 0x01, 0x08
_QOS_SHIFT, _QOS_BITS = 1, 0b11
_SESSION_PRESENT = 0x01
_RESERVED_FLAGS = 0x0F
_WITHOUT_FLAGS = frozenset({CONNACK, PUBACK, SUBACK, PINGRESP, DISCONNECT, AUTH})
# A CONNACK of MQTT 3.1.1 has these two bytes and no properties.
_CONNACK_311_BYTES = 2


@dataclass(frozen=True, slots=True)
class ConnectAnswer:
    """A CONNACK packet (section 3.2).

    Attributes:
        session_present: Whether the broker has a session of this client.
        reason: 0 if the connection is accepted, otherwise why it is refused.
        properties: The broker's limits and its explanation.
        is_mqtt_5: Whether the packet has the form of MQTT 5, and not that of MQTT 3.1.1.
    """

    session_present: bool
    reason: int
    properties: Properties
    is_mqtt_5: bool = True


def check_flags(first: int) -> None:
    """Check the reserved flags in the first byte of a packet from the broker (section 2.1.3).

    Raises:
        MalformedPacketError: One of them is set.
    """
    if first >> 4 in _WITHOUT_FLAGS and first & _RESERVED_FLAGS:
        raise MalformedPacketError(f"a packet that starts with {first:#04x}, where reserved flags are set")


def decode_connack(body: memoryview) -> ConnectAnswer:
    """Decode a CONNACK packet of MQTT 5 or 3.1.1.

    Raises:
        ProtocolError: The packet breaks the specification.
    """
    flags, position = read_number(body, 0, size=1)
    reason, position = read_number(body, position, size=1)
    if flags & ~_SESSION_PRESENT:
        raise MalformedPacketError(f"CONNACK flags {flags:#04x}, of which all but the first are reserved")
    session_present = bool(flags)
    if len(body) == _CONNACK_311_BYTES:
        return ConnectAnswer(session_present, reason, Properties(), is_mqtt_5=False)
    properties, end = read_properties(body, position, allowed=IN_CONNACK)
    _check_end(body, end)
    if properties.receive_maximum == 0 or properties.maximum_packet_bytes == 0:
        raise ProtocolError("a Receive Maximum or Maximum Packet Size of 0")
    switches = (
        properties.maximum_qos,
        properties.retain_available,
        properties.wildcard_available,
        properties.shared_available,
    )
    if any(switch not in {None, 0, 1} for switch in switches):
        raise ProtocolError("a CONNACK property that must be 0 or 1 is neither")
    return ConnectAnswer(session_present, reason, properties)


def decode_publish(first: int, body: memoryview) -> Message:
    """Decode a PUBLISH packet of QoS 0 or 1.

    Raises:
        ProtocolError: The packet breaks the specification, has QoS 2, which we do not subscribe to, or a topic alias.
    """
    qos = first >> _QOS_SHIFT & _QOS_BITS
    if qos > 1:
        raise MalformedPacketError(f"a message of QoS {qos}, where at most 1 was subscribed to")
    topic, position = read_text(body, 0)
    packet_id = 0
    if qos:
        packet_id, position = read_packet_id(body, position)
    elif first & _DUP:
        raise MalformedPacketError("a message of QoS 0 that says that it was sent before")
    properties, end = read_properties(body, position, allowed=IN_PUBLISH)
    if properties.topic_alias is not None:
        raise TopicAliasError("a topic alias, where CONNECT allows none")
    if not topic or "+" in topic or "#" in topic:
        raise ProtocolError("a message whose topic is empty or has a wildcard")
    return Message(
        topic=topic,
        payload=bytes(body[end:]),
        qos=qos,
        retain=bool(first & _RETAIN),
        dup=bool(first & _DUP),
        mid=packet_id,
        has_properties=end > position + 1,
        response_topic=properties.response_topic,
        correlation=properties.correlation,
        content_type=properties.content_type,
        expiry_s=properties.expiry_s,
        user_properties=tuple(properties.user_properties),
        has_all_properties=properties.is_complete,
    )


def decode_puback(body: memoryview) -> tuple[int, int, str | None]:
    """Decode a PUBACK packet into its Packet Identifier, its reason code and the broker's explanation.

    Raises:
        ProtocolError: The packet breaks the specification.
    """
    packet_id, position = read_packet_id(body, 0)
    if position == len(body):
        return packet_id, 0, None
    reason, position = read_number(body, position, size=1)
    return packet_id, reason, _read_explanation(body, position, allowed=IN_ACKNOWLEDGEMENT)


def decode_suback(body: memoryview) -> tuple[int, bytes]:
    """Decode a SUBACK packet into its Packet Identifier and a reason code for each filter.

    Raises:
        ProtocolError: The packet breaks the specification.
    """
    packet_id, position = read_packet_id(body, 0)
    _, position = read_properties(body, position, allowed=IN_ACKNOWLEDGEMENT)
    return packet_id, bytes(body[position:])


def decode_disconnect(body: memoryview) -> tuple[int, str | None]:
    """Decode a DISCONNECT packet into its reason code and the broker's explanation or reference to another server.

    Raises:
        ProtocolError: The packet breaks the specification.
    """
    if not len(body):
        return 0, None
    reason, position = read_number(body, 0, size=1)
    return reason, _read_explanation(body, position, allowed=IN_DISCONNECT)


def read_packet_id(body: memoryview, start: int) -> tuple[int, int]:
    """Decode a Packet Identifier, and return it with the position behind it.

    Raises:
        ProtocolError: The packet ends first, or the identifier is 0.
    """
    packet_id, end = read_number(body, start, size=2)
    if not packet_id:
        raise ProtocolError("a Packet Identifier of 0")
    return packet_id, end


def _read_explanation(body: memoryview, start: int, *, allowed: int) -> str | None:
    if start == len(body):
        return None
    properties, end = read_properties(body, start, allowed=allowed)
    _check_end(body, end)
    return properties.reason or properties.server_reference


def _check_end(body: memoryview, end: int) -> None:
    if end != len(body):
        raise MalformedPacketError(f"a packet with {len(body) - end} bytes behind its end")
