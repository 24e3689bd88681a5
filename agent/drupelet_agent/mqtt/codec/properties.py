"""Encodes the properties that the agent sends, and decodes those of every packet that it receives (section 2.2.2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from drupelet_agent.mqtt.codec.encoding import (
    read_bytes,
    read_number,
    read_text,
    read_variable,
    write_bytes,
    write_text,
)
from drupelet_agent.mqtt.errors import MalformedPacketError, ProtocolError

_PAYLOAD_FORMAT, _CONTENT_TYPE, _CORRELATION, _USER_PROPERTY = b"\x01", b"\x03", b"\x09", b"\x26"
# To decode millions of empty ones would take minutes, in which nothing else happens.
MOST_PROPERTIES = 256
_SESSION_EXPIRY, _WILL_DELAY, _RECEIVE_MAXIMUM, _MAXIMUM_PACKET = b"\x11", b"\x18", b"\x21", b"\x27"


@dataclass(slots=True)
class Properties:
    """The properties of one packet; None or empty where the packet lacks one.

    Attributes:
        content_type: Content Type.
        response_topic: Response Topic.
        correlation: Correlation Data.
        expiry_s: Message Expiry Interval in seconds.
        user_properties: User Properties, in order.
        reason: Reason String.
        server_keepalive_s: Server Keep Alive in seconds.
        receive_maximum: Receive Maximum.
        maximum_qos: Maximum QoS.
        retain_available: Retain Available, 0 or 1.
        maximum_packet_bytes: Maximum Packet Size.
        wildcard_available: Wildcard Subscription Available, 0 or 1.
        shared_available: Shared Subscription Available, 0 or 1.
        assigned_client_id: Assigned Client Identifier.
        server_reference: Server Reference.
        topic_alias: Topic Alias.
        is_complete: Whether the packet has no more properties than `MOST_PROPERTIES`; what follows them is not read.
    """

    content_type: str | None = None
    response_topic: str | None = None
    correlation: bytes | None = None
    expiry_s: int | None = None
    user_properties: list[tuple[str, str]] = field(default_factory=list)
    reason: str | None = None
    server_keepalive_s: int | None = None
    receive_maximum: int | None = None
    maximum_qos: int | None = None
    retain_available: int | None = None
    maximum_packet_bytes: int | None = None
    wildcard_available: int | None = None
    shared_available: int | None = None
    assigned_client_id: str | None = None
    server_reference: str | None = None
    topic_alias: int | None = None
    is_complete: bool = True


def publish_properties(
    *, content_type: str, is_text: bool, correlation: bytes | None, user_properties: Sequence[tuple[str, str]]
) -> bytes:
    """Encode the properties of a PUBLISH packet, without their length.

    Args:
        content_type: The type of the payload.
        is_text: Whether the payload is UTF-8.
        correlation: The Correlation Data; None leaves it out.
        user_properties: Pairs of name and value, in order.

    Returns:
        The encoded properties.

    Raises:
        EncodingError: A value is longer than 65,535 bytes, or contains a character that MQTT forbids.
    """
    parts = [_CONTENT_TYPE, write_text(content_type)]
    if is_text:
        parts.append(_PAYLOAD_FORMAT + b"\x01")
    if correlation is not None:
        parts.append(correlation_property(correlation))
    for name, value in user_properties:
        parts += (_USER_PROPERTY, write_text(name), write_text(value))
    return b"".join(parts)


def correlation_property(correlation: bytes) -> bytes:
    """Encode the Correlation Data of a PUBLISH packet.

    Raises:
        EncodingError: The data are longer than 65,535 bytes.
    """
    return _CORRELATION + write_bytes(correlation)


def connect_properties(*, session_expiry_s: int, receive_maximum: int, max_packet_bytes: int) -> bytes:
    """Encode the properties of a CONNECT packet, without their length.

    Args:
        session_expiry_s: Seconds for which the broker keeps the session after the connection ended.
        receive_maximum: How many QoS 1 messages the broker may send before the first is acknowledged.
        max_packet_bytes: The largest packet that the client reads.

    Returns:
        The encoded properties.
    """
    return b"".join(
        (
            _SESSION_EXPIRY + session_expiry_s.to_bytes(4, "big"),
            _RECEIVE_MAXIMUM + receive_maximum.to_bytes(2, "big"),
            _MAXIMUM_PACKET + max_packet_bytes.to_bytes(4, "big"),
        )
    )


def will_properties(*, delay_s: int) -> bytes:
    """Encode the properties of a will, without their length."""
    return _WILL_DELAY + delay_s.to_bytes(4, "big") if delay_s else b""


def read_properties(data: memoryview, start: int, *, allowed: int) -> tuple[Properties, int]:
    """Decode properties with their length, the first 256 of them, and return them with the position behind all.

    Args:
        data: The packet behind its fixed header.
        start: Where the length of the properties begins.
        allowed: One of `IN_PUBLISH` and the like.

    Returns:
        The properties, and the position after them.

    Raises:
        MalformedPacketError: They are cut short, or one is unknown.
        ProtocolError: One is not allowed in this packet, or is there twice.
    """
    length = read_variable(data, start)
    if length is None:
        raise MalformedPacketError("the packet ends before its properties")
    position, end = length[1], length[0] + length[1]
    if end > len(data):
        raise MalformedPacketError("the packet ends within its properties")
    properties = Properties()
    within = data[:end]
    seen = count = 0
    while position < end:
        if count == MOST_PROPERTIES:
            properties.is_complete = False
            break
        count += 1
        identifier = within[position]
        reader = _READERS.get(identifier)
        if reader is None:
            raise MalformedPacketError(f"an unknown property {identifier:#04x}")
        bit = 1 << identifier
        if not bit & allowed:
            raise ProtocolError(f"a property {identifier:#04x}, which this packet must not have")
        if bit & seen & ~_REPEATABLE:
            raise ProtocolError(f"a property {identifier:#04x} that is there twice")
        seen |= bit
        position = reader(properties, within, position + 1)
    return properties, end


_Reader = Callable[[Properties, memoryview, int], int]


def _text(name: str, properties: Properties, data: memoryview, start: int) -> int:
    value, end = read_text(data, start)
    setattr(properties, name, value)
    return end


def _number(name: str, size: int, properties: Properties, data: memoryview, start: int) -> int:
    value, end = read_number(data, start, size=size)
    setattr(properties, name, value)
    return end


def _correlation(properties: Properties, data: memoryview, start: int) -> int:
    properties.correlation, end = read_bytes(data, start)
    return end


def _pair(properties: Properties, data: memoryview, start: int) -> int:
    name, end = read_text(data, start)
    value, end = read_text(data, end)
    properties.user_properties.append((name, value))
    return end


def _skip(size: int, _: Properties, data: memoryview, start: int) -> int:
    return read_number(data, start, size=size)[1]


def _skip_prefixed(_: Properties, data: memoryview, start: int) -> int:
    return read_bytes(data, start)[1]


def _skip_variable(_: Properties, data: memoryview, start: int) -> int:
    number = read_variable(data, start)
    if number is None:
        raise MalformedPacketError("the packet ends within a number")
    return number[1]


# Every property of section 2.2.2.2: one that the agent does not use must still be skipped.
_READERS: Mapping[int, _Reader] = {
    0x01: partial(_skip, 1),
    0x02: partial(_number, "expiry_s", 4),
    0x03: partial(_text, "content_type"),
    0x08: partial(_text, "response_topic"),
    0x09: _correlation,
    0x0B: _skip_variable,
    0x11: partial(_skip, 4),
    0x12: partial(_text, "assigned_client_id"),
    0x13: partial(_number, "server_keepalive_s", 2),
    0x15: _skip_prefixed,
    0x16: _skip_prefixed,
    0x17: partial(_skip, 1),
    0x18: partial(_skip, 4),
    0x19: partial(_skip, 1),
    0x1A: _skip_prefixed,
    0x1C: partial(_text, "server_reference"),
    0x1F: partial(_text, "reason"),
    0x21: partial(_number, "receive_maximum", 2),
    0x22: partial(_skip, 2),
    0x23: partial(_number, "topic_alias", 2),
    0x24: partial(_number, "maximum_qos", 1),
    0x25: partial(_number, "retain_available", 1),
    0x26: _pair,
    0x27: partial(_number, "maximum_packet_bytes", 4),
    0x28: partial(_number, "wildcard_available", 1),
    0x29: partial(_skip, 1),
    0x2A: partial(_number, "shared_available", 1),
}


def _mask(*identifiers: int) -> int:
    return sum(1 << identifier for identifier in identifiers)


_REPEATABLE = _mask(0x0B, 0x26)
# Which packets may have which properties (table 2-4).
IN_PUBLISH = _mask(0x01, 0x02, 0x03, 0x08, 0x09, 0x0B, 0x23, 0x26)
IN_CONNACK = _mask(
    0x11, 0x12, 0x13, 0x15, 0x16, 0x1A, 0x1C, 0x1F, 0x21, 0x22, 0x24, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2A
)  # fmt: skip
IN_ACKNOWLEDGEMENT = _mask(0x1F, 0x26)
IN_DISCONNECT = _mask(0x11, 0x1C, 0x1F, 0x26)
