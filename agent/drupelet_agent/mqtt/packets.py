"""The packets of MQTT 5 that a client sends and receives, at QoS 0 and 1 (section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from drupelet_agent.mqtt.encoding import read_number, read_text, write_bytes, write_text, write_variable
from drupelet_agent.mqtt.errors import MalformedPacketError
from drupelet_agent.mqtt.message import Message, Publication
from drupelet_agent.mqtt.properties import Properties, read_properties, will_properties

CONNACK, PUBLISH, PUBACK, SUBACK, PINGRESP, DISCONNECT = 2, 3, 4, 9, 13, 14
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


@dataclass(frozen=True, slots=True)
class Login:
    """What a CONNECT packet says besides its properties."""

    client_id: str
    keepalive_s: int
    username: str | None = None
    password: bytes | None = field(default=None, repr=False)
    will: Publication | None = None
    will_delay_s: int = 0


@dataclass(frozen=True, slots=True)
class ConnectAnswer:
    """A CONNACK packet (section 3.2)."""

    session_present: bool
    reason: int
    properties: Properties


def encode_connect(login: Login, properties: bytes) -> bytes:
    """A CONNECT packet that takes up the session there is (section 3.1)."""
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


def encode_publish_head(publication: Publication, *, packet_id: int, dup: bool = False) -> bytes:
    """A PUBLISH packet up to its payload, which is sent as it is (section 3.3)."""
    first = _PUBLISH_BYTE | publication.qos << _QOS_SHIFT | publication.retain | (_DUP if dup else 0)
    parts = [write_text(publication.topic)]
    if publication.qos:
        parts.append(packet_id.to_bytes(2, "big"))
    parts.append(_with_length(publication.properties))
    head = b"".join(parts)
    return bytes((first,)) + write_variable(len(head) + len(publication.payload)) + head


def encode_puback(packet_id: int) -> bytes:
    """A PUBACK packet that says success (section 3.4)."""
    return _PUBACK_START + packet_id.to_bytes(2, "big")


def encode_subscribe(packet_id: int, filters: Sequence[str], *, retained: bool = False) -> bytes:
    """A SUBSCRIBE packet for QoS 1 and for what is sent from now on, or for what is retained as well (section 3.8)."""
    options = _RETAINED_TOO if retained else _NEW_MESSAGES
    topics = b"".join(write_text(one) + options for one in filters)
    return _packet(_SUBSCRIBE_BYTE, packet_id.to_bytes(2, "big"), b"\x00", topics)


def encode_disconnect(reason: int = 0) -> bytes:
    """A DISCONNECT packet (section 3.14)."""
    return _DISCONNECT_START + bytes((reason,))


def decode_connack(body: memoryview) -> ConnectAnswer:
    """What a broker says to a CONNECT.

    Raises:
        MalformedPacketError: The packet breaks the specification, as do those below.
    """
    flags, position = read_number(body, 0, size=1)
    reason, position = read_number(body, position, size=1)
    # A broker of MQTT 3.1.1 that refuses the version knows no properties.
    properties = read_properties(body, position)[0] if position < len(body) else Properties()
    return ConnectAnswer(session_present=bool(flags & _SESSION_PRESENT), reason=reason, properties=properties)


def decode_publish(first: int, body: memoryview) -> Message:
    """A message."""
    qos = first >> _QOS_SHIFT & _QOS_BITS
    if qos > 1:
        raise MalformedPacketError(f"a message of QoS {qos}, where at most 1 was subscribed to")
    topic, position = read_text(body, 0)
    packet_id = 0
    if qos:
        packet_id, position = read_number(body, position, size=2)
    found, end = read_properties(body, position)
    return Message(
        topic=topic,
        payload=bytes(body[end:]),
        qos=qos,
        retain=bool(first & _RETAIN),
        dup=bool(first & _DUP),
        mid=packet_id,
        has_properties=end > position + 1,
        response_topic=found.response_topic,
        correlation=found.correlation,
        content_type=found.content_type,
        expiry_s=found.expiry_s,
        user_properties=tuple(found.user_properties),
    )


def decode_puback(body: memoryview) -> tuple[int, int]:
    """The packet identifier and the reason code."""
    packet_id, position = read_number(body, 0, size=2)
    return packet_id, body[position] if position < len(body) else 0


def decode_suback(body: memoryview) -> tuple[int, bytes]:
    """The packet identifier and a reason code for each filter."""
    packet_id, position = read_number(body, 0, size=2)
    _, position = read_properties(body, position)
    return packet_id, bytes(body[position:])


def decode_disconnect(body: memoryview) -> tuple[int, str | None]:
    """The reason code, and what the broker adds to it."""
    if not len(body):
        return 0, None
    reason, position = read_number(body, 0, size=1)
    return reason, read_properties(body, position)[0].reason if position < len(body) else None


def _with_length(properties: bytes) -> bytes:
    return write_variable(len(properties)) + properties


def _packet(first: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return first + write_variable(len(body)) + body
