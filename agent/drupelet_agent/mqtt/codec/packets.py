"""Encodes the packets of MQTT 5 that a client sends at QoS 0 and 1 (section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from drupelet_agent.mqtt.codec.encoding import (
    MOST_BYTES,
    MOST_VARIABLE,
    encode_text,
    write_bytes,
    write_text,
    write_variable,
)
from drupelet_agent.mqtt.codec.properties import (
    will_properties,
)
from drupelet_agent.mqtt.errors import EncodingError
from drupelet_agent.mqtt.message import Publication

CONNACK, PUBLISH, PUBACK, SUBACK, PINGRESP, DISCONNECT, AUTH = 2, 3, 4, 9, 13, 14, 15
PING_REQUEST = b"\xc0\x00"

_CONNECT_BYTE, _PUBLISH_BYTE, _SUBSCRIBE_BYTE = b"\x10", 0x30, b"\x82"
_PUBACK_START, _DISCONNECT_START = b"\x40\x02", b"\xe0\x01"
_PROTOCOL = b"\x00\x04MQTT\x05"
_USER_NAME, _PASSWORD, _WILL_RETAIN, _WILL = 0x80, 0x40, 0x20, 0x04
_RETAIN, _DUP = 0x01, 0x08
_QOS_SHIFT, _WILL_QOS_SHIFT = 1, 3
# QoS 1; and no retained messages at the start, or all of them (section 3.8.3.1).
_NEW_MESSAGES, _RETAINED_TOO = b"\x21", b"\x01"
_SHARE = "$share/"


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

    Returns:
        The packet without its payload.

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

    Returns:
        The packet.

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


def _variable_bytes(number: int) -> int:
    return 1 if number < 1 << 7 else 2 if number < 1 << 14 else 3 if number < 1 << 21 else 4


def _with_length(properties: bytes) -> bytes:
    return write_variable(len(properties)) + properties


def _packet(first: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return first + write_variable(len(body)) + body
