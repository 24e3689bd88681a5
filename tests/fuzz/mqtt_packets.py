"""MQTT packets as a broker sends them to the agent."""

from __future__ import annotations

import importlib.util

from drupelet_agent.mqtt.codec import decoding, packets
from drupelet_agent.mqtt.codec.encoding import write_text, write_variable
from drupelet_agent.mqtt.codec.framing import Framer
from drupelet_agent.mqtt.codec.properties import publish_properties
from drupelet_agent.mqtt.errors import ProtocolError
from drupelet_agent.mqtt.message import Message, Publication
from fuzz.target import Target

_LIMIT_BYTES = 65_536
# The second implementation, in Rust: an extra check where it is installed (the group `test` has it).
_HAS_ORACLE = importlib.util.find_spec("mqtt5") is not None


def check_packets(data: bytes) -> bool:
    """The agent's reader takes a stream of packets, or refuses it; a message is no longer than its packet."""
    taken = False
    try:
        for first, body in Framer(max_packet_bytes=_LIMIT_BYTES).feed(data):
            assert len(body) <= _LIMIT_BYTES
            _decode(first, body)
            taken = True
    except ProtocolError:
        return False
    return taken


def _decode(first: int, body: memoryview) -> None:
    match first >> 4:
        case packets.PUBLISH:
            message = decoding.decode_publish(first, body)
            assert len(message.topic) + len(message.payload) <= len(body)
            if _HAS_ORACLE:
                _compare(message, bytes((first,)) + write_variable(len(body)) + bytes(body))
        case packets.PUBACK:
            decoding.decode_puback(body)
        case packets.SUBACK:
            decoding.decode_suback(body)
        case packets.CONNACK:
            decoding.decode_connack(body)
        case packets.DISCONNECT:
            decoding.decode_disconnect(body)


def _compare(message: Message, packet: bytes) -> None:
    """Check that mqtt5 reads the same message, unless a text is not UTF-8: then mqtt5 panics."""
    texts = (message.topic, message.response_topic, message.content_type, *sum(message.user_properties, ()))
    if any(text is not None and "\N{REPLACEMENT CHARACTER}" in text for text in texts):
        return
    import mqtt5  # noqa: PLC0415 - not everywhere installed

    try:
        other, length = mqtt5.read(memoryview(packet))
    except (ValueError, IndexError):
        # It checks values that the agent does not use, such as the payload format indicator.
        return
    assert length == len(packet)
    assert (other.topic, other.payload, int(other.qos)) == (message.topic, message.payload, message.qos)
    assert (other.packet_id or 0, other.duplicate, other.retain) == (message.mid, message.dup, message.retain)
    assert other.response_topic == message.response_topic
    assert other.correlation_data == message.correlation
    assert tuple(other.user_properties) == message.user_properties


def _seeds() -> tuple[bytes, ...]:
    properties = publish_properties(
        content_type="application/json", is_text=True, correlation=b"1234", user_properties=[("a", "b")]
    )
    request = properties + b"\x08" + write_text("clients/1/reply") + b"\x02\x00\x00\x00\x05\x0b\x80\x01"
    publication = Publication("drupelet/v1/pi/infer/digits", b'{"inputs": []}', properties=request)
    publish = packets.encode_publish_head(publication, packet_id=7) + publication.payload
    limits = b"\x21\x00\x14\x27\x00\x10\x00\x00\x22\x00\x0a\x24\x01\x13\x00\x3c\x12" + write_text("id")
    connack = b"\x00\x00" + write_variable(len(limits)) + limits
    return (
        publish,
        b"\x20" + write_variable(len(connack)) + connack,
        packets.encode_puback(7),
        b"\x90\x05\x00\x01\x00\x01\x87",
        b"\xe0\x07\x8e\x05\x1f" + write_text("no"),
        publish + packets.encode_puback(7) + publish,
    )


MQTT_PACKETS = Target(name="mqtt-packets", seeds=_seeds(), check=check_packets)
