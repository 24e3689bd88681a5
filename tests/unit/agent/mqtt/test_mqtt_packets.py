"""The agent's MQTT 5 packets against paho's reader and writer."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from drupelet_agent.mqtt.codec import decoding, packets
from drupelet_agent.mqtt.codec.encoding import read_variable, write_text, write_variable
from drupelet_agent.mqtt.codec.framing import Framer
from drupelet_agent.mqtt.codec.properties import IN_PUBLISH, publish_properties, read_properties
from drupelet_agent.mqtt.errors import MalformedPacketError, PacketSizeError, ProtocolError
from drupelet_agent.mqtt.message import Message, Publication
from drupelet_agent.mqtt.reasons import describe_reason

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=300)
TOPIC = st.text("abcdefgh/0123456789", min_size=1, max_size=80)


def prefixed(properties: bytes) -> bytes:
    return write_variable(len(properties)) + properties


@given(TEXT, st.booleans(), st.none() | st.binary(max_size=300), st.lists(st.tuples(TEXT, TEXT), max_size=3))
def test_paho_reads_the_properties_that_are_packed(
    content_type: str,
    is_text: bool,  # noqa: FBT001 - a test's parameter
    correlation: bytes | None,
    pairs: list[tuple[str, str]],
) -> None:
    packed = prefixed(
        publish_properties(content_type=content_type, is_text=is_text, correlation=correlation, user_properties=pairs)
    )
    read = Properties(PacketTypes.PUBLISH)
    _, length = read.unpack(packed)
    assert length == len(packed)
    assert read.ContentType == content_type
    assert getattr(read, "PayloadFormatIndicator", 0) == int(is_text)
    assert getattr(read, "CorrelationData", None) == correlation
    assert getattr(read, "UserProperty", []) == pairs


class _Written(io.BytesIO):
    """What paho sends, without a network."""

    def send(self, data: bytes) -> int:
        return self.write(data)


def published_by_paho(message: Message, properties: Properties) -> bytes:
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="it", protocol=paho.MQTTv5)
    written = _Written()
    client._sock = written  # type: ignore[assignment]
    client._send_publish(message.mid, message.topic.encode(), message.payload, message.qos, properties=properties)
    client._packet_write()
    client._sock = None
    return written.getvalue()


REQUESTS = st.builds(
    Message,
    topic=TOPIC,
    payload=st.binary(max_size=400),
    qos=st.just(1),
    retain=st.just(False),  # noqa: FBT003 - hypothesis takes it so
    dup=st.just(False),  # noqa: FBT003
    mid=st.just(7),
    has_properties=st.just(True),  # noqa: FBT003
    response_topic=TOPIC,
    correlation=st.binary(max_size=40),
    content_type=TEXT,
    expiry_s=st.integers(0, 2**32 - 1),
    user_properties=st.lists(st.tuples(TEXT, TEXT), max_size=3).map(tuple),
    has_all_properties=st.just(True),  # noqa: FBT003
)


@given(REQUESTS)
def test_what_paho_publishes_is_read(request_: Message) -> None:
    properties = Properties(PacketTypes.PUBLISH)
    properties.ResponseTopic = request_.response_topic
    properties.CorrelationData = request_.correlation
    properties.MessageExpiryInterval = request_.expiry_s
    properties.ContentType = request_.content_type
    if request_.user_properties:
        properties.UserProperty = list(request_.user_properties)
    sent = published_by_paho(request_, properties)
    ((first, body),) = Framer(max_packet_bytes=2**20).feed(sent)
    assert decoding.decode_publish(first, body) == request_


@given(TOPIC, st.binary(max_size=400), st.sampled_from([0, 1]), st.booleans(), st.booleans())
def test_a_publication_is_read_as_it_was_written(
    topic: str,
    payload: bytes,
    qos: int,
    retain: bool,  # noqa: FBT001 - a test's parameter
    dup: bool,  # noqa: FBT001
) -> None:
    publication, dup = Publication(topic, payload, qos=qos, retain=retain), dup and qos > 0
    head = packets.encode_publish_head(publication, packet_id=65_535, dup=dup)
    assert packets.publish_bytes(publication) == len(head + payload)
    ((first, body),) = Framer(max_packet_bytes=2**20).feed(head + payload)
    message = Message(topic, payload, qos=qos, retain=retain, dup=dup, mid=65_535 if qos else 0)
    assert decoding.decode_publish(first, body) == message


@given(st.lists(st.binary(max_size=300), max_size=6), st.lists(st.integers(1, 90), max_size=40), st.booleans())
def test_packets_come_whole_however_the_socket_cuts_them(
    payloads: list[bytes],
    cuts: list[int],
    at_once: bool,  # noqa: FBT001 - a test's parameter
) -> None:
    stream = b"".join(b"\x30" + prefixed(payload) for payload in payloads)
    framer, bodies = Framer(max_packet_bytes=303), []
    for size in [] if at_once else cuts:
        bodies += [bytes(body) for _, body in framer.feed(stream[:size])] if stream else []
        stream = stream[size:]
    if stream:
        bodies += [bytes(body) for _, body in framer.feed(stream)]
    assert bodies == payloads


def test_a_packet_over_the_limit_is_refused_before_its_body_is_read() -> None:
    framer = Framer(max_packet_bytes=1000)
    with pytest.raises(PacketSizeError, match="a packet of 1001 bytes: the limit is 1000"):
        list(framer.feed(b"\x30" + write_variable(998)))


def test_a_length_of_five_bytes_is_refused() -> None:
    with pytest.raises(MalformedPacketError, match="more than four bytes"):
        list(Framer(max_packet_bytes=2**30).feed(b"\x30\xff\xff\xff\xff\x01"))


@given(st.integers(0, 268_435_455))
def test_a_length_is_read_as_it_was_written(number: int) -> None:
    written = write_variable(number)
    assert read_variable(memoryview(written), 0) == (number, len(written))
    assert read_variable(memoryview(written[:-1]), 0) is None


@given(st.integers(0, 15), st.binary(max_size=60))
def test_foreign_bytes_are_read_or_refused_with_our_own_error(kind: int, body: bytes) -> None:
    decoders = (
        decoding.decode_connack,
        decoding.decode_puback,
        decoding.decode_suback,
        decoding.decode_disconnect,
        lambda data: decoding.decode_publish(0x30 | kind, data),
    )
    for decode in decoders:
        try:
            decode(memoryview(body))
        except ProtocolError:
            continue


def test_an_unknown_property_is_refused_since_its_end_cannot_be_known() -> None:
    with pytest.raises(MalformedPacketError, match="unknown property 0x7f"):
        read_properties(memoryview(b"\x02\x7f\x00"), 0, allowed=IN_PUBLISH)


def test_a_user_property_that_is_no_utf_8_does_not_end_the_connection() -> None:
    packed = prefixed(b"\x26\x00\x01\xff" + write_text("value"))
    assert read_properties(memoryview(packed), 0, allowed=IN_PUBLISH)[0].user_properties == [
        ("\N{REPLACEMENT CHARACTER}", "value")
    ]


def test_a_password_is_not_in_the_text_of_a_login() -> None:
    assert b"hunter2" not in repr(packets.Login("it", keepalive_s=30, username="me", password=b"hunter2")).encode()


def test_reasons_are_named_as_the_specification_names_them() -> None:
    assert describe_reason(0x87) == "Not authorized"
    assert describe_reason(0x97, "too many") == "Quota exceeded (too many)"
    assert describe_reason(0xFE) == "reason code 0xfe"


@pytest.mark.parametrize("unit", [b"\x26\0\0\0\0", b"\x0b\x01"], ids=["User Property", "Subscription Identifier"])
@pytest.mark.parametrize(("count", "is_complete"), [(256, True), (257, False), (400_000, False)])
def test_of_very_many_properties_the_first_256_are_read(unit: bytes, count: int, *, is_complete: bool) -> None:
    body = write_text("a/b") + prefixed(unit * count) + b"payload"
    message = decoding.decode_publish(0x30, memoryview(body))
    assert (message.payload, message.has_all_properties) == (b"payload", is_complete)
    assert len(message.user_properties) <= 256


@pytest.mark.parametrize("remaining", [127, 128, 16_383, 16_384, 2_097_151, 2_097_152])
@pytest.mark.parametrize("qos", [0, 1])
def test_the_size_of_a_packet_is_known_before_it_is_encoded(remaining: int, qos: int) -> None:
    """The length grows by a byte at each power of 128 (MQTT 5, section 1.5.5)."""
    head_bytes = 2 + len("topic") + 2 * qos + 1
    publication = Publication("topic", bytes(remaining - head_bytes), qos=qos)
    encoded = packets.encode_publish_head(publication, packet_id=7)
    assert packets.publish_bytes(publication) == len(encoded) + len(publication.payload)
