"""Reading of packets: which messages are handed over, whatever the pieces that they arrive in."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterable, Iterator

import pytest
from paho.mqtt.client import MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

from drupelet_host.client.connection.paho_client import TolerantClient

_RETAINED, _QOS_1 = 0x01, 0x02
_CONTENT_TYPE = bytes([0x03, 0, 2]) + b"ab"


def publish(topic: str, payload: bytes, *, flags: int = 0, properties: bytes = b"") -> bytes:
    """Return a PUBLISH packet of MQTT 5; one of QoS 1 has the identifier 1."""
    name = topic.encode()
    identifier = b"\0\1" if flags & _QOS_1 else b""
    body = len(name).to_bytes(2, "big") + name + identifier + bytes([len(properties)]) + properties + payload
    return bytes([0x30 | flags, *_digits(len(body))]) + body


def _digits(length: int) -> Iterator[int]:
    while length > 0x7F:
        yield length & 0x7F | 0x80
        length >>= 7
    yield length


def received(pieces: Iterable[bytes]) -> tuple[list[tuple[str, bytes, bool]], list[tuple[str, bytes, bool]]]:
    """Return what a client hands over as plain messages, and as other ones, of bytes that arrive in pieces."""
    plain: list[tuple[str, bytes, bool]] = []
    others: list[tuple[str, bytes, bool]] = []
    client = TolerantClient(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
    client.on_plain_message = lambda *message: plain.append(message)
    client.on_message = lambda _, __, message: others.append((message.topic, message.payload, message.retain))
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(0.0)
        client._sock = ours
        for piece in pieces:
            theirs.sendall(piece)
            client.loop_read()
    client._sock = None
    return plain, others


MESSAGES = [
    (f"drupelet/v1/pi-{number}/status", bytes([number % 256]) * (number * number % 700), number % 3 == 0)
    for number in range(60)
]


def test_what_is_to_be_published_is_written_between_messages_that_never_end() -> None:
    handled: list[str] = []
    client = TolerantClient(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
    client.on_plain_message = lambda topic, *_: handled.append(topic)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(0.0)
        client._sock = ours
        for number in range(1000):
            client.publish(f"a/{number}", b"", qos=1)
        theirs.sendall(publish("a/b", bytes(1000)) * 150)
        client.loop_read()
        client._sock = None
    # The socket holds more, which waits until the caller has written.
    assert 0 < len(handled) < 150


@pytest.mark.parametrize("seed", range(10))
def test_each_message_is_handed_over_once_and_in_order_whatever_the_pieces(seed: int) -> None:
    generator = random.Random(seed)
    data = b"".join(publish(topic, payload, flags=_RETAINED * kept) for topic, payload, kept in MESSAGES)
    cuts = sorted(generator.sample(range(1, len(data)), generator.choice([1, 5, 200])))
    pieces = [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    plain, others = received(pieces)
    assert sorted(plain + others) == sorted(MESSAGES)
    # What paho handles, the first packet of each piece, comes between the others.
    assert plain == [message for message in MESSAGES if message in plain]
    assert len(plain) > len(others) or len(cuts) == 200


@pytest.mark.parametrize(
    "packet",
    [
        publish("a/b", b"1", flags=_QOS_1),
        publish("a/b", b"1", properties=_CONTENT_TYPE),
    ],
    ids=["QoS 1", "a property"],
)
def test_a_message_that_needs_more_goes_the_usual_way_and_those_behind_it_the_short_one(packet: bytes) -> None:
    plain, others = received([publish("a/first", b"0") + packet + publish("a/c", b"2") * 2])
    assert ("a/b", b"1", False) in others
    assert plain == [("a/c", b"2", False)] * 2


def test_a_topic_that_is_no_text_is_not_handed_over_as_a_plain_message() -> None:
    packet = publish("a/b", b"1").replace(b"a/b", b"a/\xff")
    plain, _ = received([publish("a/first", b"0") + publish("a/c", b"2"), packet])
    assert plain == [("a/c", b"2", False)]
