"""The packets of MQTT 5 that a client sends and receives at QoS 0 and 1 (section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from drupelet_agent.mqtt.encoding import (
    MOST_BYTES,
    MOST_VARIABLE,
    encode_text,
    read_number,
    read_text,
    write_bytes,
    write_text,
    write_variable,
)
from drupelet_agent.mqtt.errors import EncodingError, MalformedPacketError, ProtocolError, TopicAliasError
from drupelet_agent.mqtt.message import Message, Publication
from drupelet_agent.mqtt.properties import (
    IN_ACKNOWLEDGEMENT,
    IN_CONNACK,
    IN_DISCONNECT,
    IN_PUBLISH,
    Properties,
    read_properties,
    will_properties,
)

CONNACK, PUBLISH, PUBACK, SUBACK, PINGRESP, DISCONNECT, AUTH = 2, 3, 4, 9, 13, 14, 15
PING_REQUEST = b"\xc0\x00"

_CONNECT_BYTE, _PUBLISH_BYTE, _SUBSCRIBE_BYTE = b"\x10", 0x30, b"\x82"
_PUBACK_START, _DISCONNECT_START = b"\x40\x02", b"\xe0\x01"
_PROTOCOL = b"\x00\x04MQTT\x05"
_USER_NAME, _PASSWORD, _WILL_RETAIN, _WILL = 0x80, 0x40, 0x20, 0x04
_RETAIN, _DUP = 0x01, 0x08
_QOS_SHIFT, _WILL_QOS_SHIFT, _QOS_BITS = 1, 3, 0b11
# QoS 1; and no retained messages at the start, or all of them (section 3.8.3.1).
_NEW_MESSAGES, _RETAINED_TOO = b"\x21", b"\x01"
_SESSION_PRESENT = 0x01
_RESERVED_FLAGS = 0x0F
_WITHOUT_FLAGS = frozenset({CONNACK, PUBACK, SUBACK, PINGRESP, DISCONNECT, AUTH})
_SHARE = "$share/"
# A CONNACK of MQTT 3.1.1 has these two bytes and no properties.
_CONNACK_311_BYTES = 2


@dataclass(frozen=True, slots=True)
class Login:
    """The fields of a CONNECT packet besides its properties (section 3.1).

    Attributes:
        client_id: The Client Identifier.
        keepalive_s: The Keep Alive in seconds.
        username: The account's name; None without an account.
        password: The account's password; never shown in a repr.
        will: Published by the broker when the connection is lost.
        will_delay_s: Seconds the broker waits before it publishes the will.
    """

    client_id: str
    keepalive_s: int
    username: str | None = None
    password: bytes | None = field(default=None, repr=False)
    will: Publication | None = None
    will_delay_s: int = 0


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


def encode_connect(login: Login, properties: bytes) -> bytes:
    """Encode a CONNECT packet that resumes an existing session (section 3.1).

    Raises:
        EncodingError: A value is longer than 65,535 bytes, or contains a character that MQTT forbids.
    """
    flags, will = 0, b""
    if login.will is not None:
        flags |= _WILL | login.will.qos << _WILL_QOS_SHIFT | (_WILL_RETAIN if login.will.retain else 0)
        properties_of_will = will_properties(delay_s=login.will_delay_s) + login.will.properties
        will = _with_length(properties_of_will) + write_text(login.will.topic) + write_bytes(login.will.payload)
    if login.username is not None:
        flags |= _USER_NAME
    if login.password is not None:
        flags |= _PASSWORD
    return _packet(
        _CONNECT_BYTE,
        _PROTOCOL,
        bytes((flags,)) + login.keepalive_s.to_bytes(2, "big"),
        _with_length(properties),
        write_text(login.client_id),
        will,
        b"" if login.username is None else write_text(login.username),
        b"" if login.password is None else write_bytes(login.password),
    )


def publish_bytes(publication: Publication) -> int:
    """Return the size of a PUBLISH packet, with its fixed header.

    Raises:
        EncodingError: The topic is empty, longer than 65,535 bytes in UTF-8 or contains a character that MQTT forbids
            in a topic name, or the packet is longer than MQTT allows.
    """
    topic = publication.topic
    if not topic or "+" in topic or "#" in topic:
        raise EncodingError(f"the topic {topic[:80]!r} is empty or has a wildcard")
    topic_bytes = len(encode_text(topic))
    if topic_bytes > MOST_BYTES:
        raise EncodingError(f"a topic of {topic_bytes} bytes: MQTT carries at most {MOST_BYTES}")
    properties = len(publication.properties)
    remaining = 2 + topic_bytes + (2 if publication.qos else 0) + properties + len(publication.payload)
    remaining += _variable_bytes(properties)
    if remaining > MOST_VARIABLE:
        raise EncodingError(f"a packet of {remaining} bytes: MQTT carries at most {MOST_VARIABLE}")
    return 1 + _variable_bytes(remaining) + remaining


def encode_publish_head(publication: Publication, *, packet_id: int, dup: bool = False) -> bytes:
    """Encode a PUBLISH packet up to its payload, which is sent as it is (section 3.3).

    Args:
        publication: What is published.
        packet_id: Its Packet Identifier; unused at QoS 0.
        dup: Whether the broker may already have it.

    Raises:
        EncodingError: The topic or the packet is too long, or the topic contains a character that MQTT forbids.
    """
    first = _PUBLISH_BYTE | publication.qos << _QOS_SHIFT | publication.retain | (_DUP if dup else 0)
    parts = [write_text(publication.topic)]
    if publication.qos:
        parts.append(packet_id.to_bytes(2, "big"))
    parts.append(_with_length(publication.properties))
    head = b"".join(parts)
    return bytes((first,)) + write_variable(len(head) + len(publication.payload)) + head


def encode_puback(packet_id: int) -> bytes:
    """Encode a PUBACK packet that reports success (section 3.4)."""
    return _PUBACK_START + packet_id.to_bytes(2, "big")


def encode_subscribe(packet_id: int, filters: Sequence[str], *, retained: bool = False) -> bytes:
    """Encode a SUBSCRIBE packet for QoS 1 (section 3.8).

    Args:
        packet_id: Its Packet Identifier.
        filters: The topic filters.
        retained: Whether retained messages are sent as well, or only what is published from now on.

    Raises:
        EncodingError: A filter is empty, longer than 65,535 bytes, or has a wildcard, a share name or a character that
            MQTT forbids there.
    """
    for one in filters:
        _check_filter(one)
    options = _RETAINED_TOO if retained else _NEW_MESSAGES
    topics = b"".join(write_text(one) + options for one in filters)
    return _packet(_SUBSCRIBE_BYTE, packet_id.to_bytes(2, "big"), b"\x00", topics)


def encode_disconnect(reason: int = 0) -> bytes:
    """Encode a DISCONNECT packet (section 3.14)."""
    return _DISCONNECT_START + bytes((reason,))


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


def _check_filter(topic_filter: str) -> None:
    """Check the form of a topic filter (sections 4.7.1, 4.7.3 and 4.8.2)."""
    plain = topic_filter
    if topic_filter.startswith(_SHARE):
        name, _, plain = topic_filter[len(_SHARE) :].partition("/")
        if not name or "+" in name or "#" in name:
            raise EncodingError(f"the topic filter {topic_filter[:80]!r} has no valid share name")
    levels = plain.split("/")
    misplaced = any(("+" in level or "#" in level) and len(level) > 1 for level in levels) or "#" in levels[:-1]
    if not plain or misplaced:
        raise EncodingError(f"the topic filter {topic_filter[:80]!r} is empty or has a misplaced wildcard")


def _read_explanation(body: memoryview, start: int, *, allowed: int) -> str | None:
    if start == len(body):
        return None
    properties, end = read_properties(body, start, allowed=allowed)
    _check_end(body, end)
    return properties.reason or properties.server_reference


def _check_end(body: memoryview, end: int) -> None:
    if end != len(body):
        raise MalformedPacketError(f"a packet with {len(body) - end} bytes behind its end")


def _variable_bytes(number: int) -> int:
    return 1 if number < 1 << 7 else 2 if number < 1 << 14 else 3 if number < 1 << 21 else 4


def _with_length(properties: bytes) -> bytes:
    return write_variable(len(properties)) + properties


def _packet(first: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return first + write_variable(len(body)) + body
