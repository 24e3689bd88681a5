"""The agent's MQTT packets against a second, independent implementation: mqtt5, which is written in Rust."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drupelet_agent.mqtt.codec import decoding, packets
from drupelet_agent.mqtt.codec.framing import Framer
from drupelet_agent.mqtt.codec.packets import Login
from drupelet_agent.mqtt.codec.properties import connect_properties, publish_properties
from drupelet_agent.mqtt.limits import BrokerLimits
from drupelet_agent.mqtt.message import Message, Publication

mqtt5 = pytest.importorskip("mqtt5", reason="mqtt5 is not installed; the group `test` has it")

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cn"], exclude_characters="\0"), max_size=80)
TOPIC = st.text("abcdefgh/0123456789", min_size=1, max_size=80)
PAIRS = st.lists(st.tuples(TEXT, TEXT), max_size=3)
PACKET_ID = st.integers(1, 65_535)


def read(data: bytes) -> object:
    """Let mqtt5 read one whole packet."""
    packet, length = mqtt5.read(memoryview(data))
    assert length == len(data)
    return packet


def split(data: bytes) -> tuple[int, memoryview]:
    """Split one packet with the agent's framer."""
    ((first, body),) = Framer(max_packet_bytes=2**20).feed(data)
    decoding.check_flags(first)
    return first, body


@st.composite
def publications(draw: st.DrawFn) -> tuple[Publication, dict[str, object]]:
    """Draw a publication, and the fields that mqtt5 must read from it."""
    fields: dict[str, object] = {
        "content_type": draw(TEXT),
        "correlation_data": draw(st.none() | st.binary(max_size=80)),
        "user_properties": draw(PAIRS),
        "payload_format_indicator": draw(st.integers(0, 1)),
        "topic": draw(TOPIC),
        "payload": draw(st.binary(max_size=300)),
        "qos": draw(st.integers(0, 1)),
        "retain": draw(st.booleans()),
    }
    properties = publish_properties(
        content_type=str(fields["content_type"]),
        is_text=bool(fields["payload_format_indicator"]),
        correlation=fields["correlation_data"],  # type: ignore[arg-type]
        user_properties=fields["user_properties"],  # type: ignore[arg-type]
    )
    publication = Publication(
        str(fields["topic"]),
        fields["payload"],  # type: ignore[arg-type]
        qos=int(fields["qos"]),  # type: ignore[call-overload]
        retain=bool(fields["retain"]),
        properties=properties,
    )
    return publication, fields


@given(publications(), PACKET_ID)
def test_mqtt5_reads_what_is_published(drawn: tuple[Publication, dict[str, object]], packet_id: int) -> None:
    publication, fields = drawn
    head = packets.encode_publish_head(publication, packet_id=packet_id)
    packet = read(head + publication.payload)
    assert {name: getattr(packet, name) for name in fields} == fields
    assert packet.packet_id == (packet_id if publication.qos else None)  # type: ignore[attr-defined]
    assert packets.publish_bytes(publication) == len(head) + len(publication.payload)


@given(TOPIC, st.binary(max_size=300), st.none() | PACKET_ID, st.booleans(), st.booleans(), PAIRS, st.data())
def test_what_mqtt5_publishes_is_read(  # noqa: PLR0917 - hypothesis gives them in their order
    topic: str,
    payload: bytes,
    packet_id: int | None,
    retain: bool,  # noqa: FBT001 - a test's parameter
    dup: bool,  # noqa: FBT001
    pairs: list[tuple[str, str]],
    data: st.DataObject,
) -> None:
    dup = dup and packet_id is not None
    content_type, response_topic = data.draw(st.none() | TEXT), data.draw(st.none() | TOPIC)
    correlation = data.draw(st.none() | st.binary(max_size=80))
    expiry_s = data.draw(st.none() | st.integers(0, 2**32 - 1))
    written = mqtt5.PublishPacket(
        topic,
        payload,
        qos=mqtt5.QoS(0 if packet_id is None else 1),
        retain=retain,
        packet_id=packet_id,
        duplicate=dup,
        message_expiry_interval=expiry_s,
        content_type=content_type,
        response_topic=response_topic,
        correlation_data=correlation,
        user_properties=pairs,
        subscription_ids=data.draw(st.lists(st.integers(1, 2**28 - 1), max_size=2)),
    ).write()
    message = decoding.decode_publish(*split(written))
    assert message._replace(has_properties=False) == Message(
        topic=topic,
        payload=payload,
        qos=0 if packet_id is None else 1,
        retain=retain,
        dup=dup,
        mid=packet_id or 0,
        response_topic=response_topic,
        correlation=correlation,
        content_type=content_type,
        expiry_s=expiry_s,
        user_properties=tuple(pairs),
    )


@given(
    st.text("abcdef0123456789-", min_size=1, max_size=60),
    st.none() | TEXT,
    st.none() | st.binary(max_size=60),
    st.integers(0, 65_535),
    st.none() | publications(),
    st.integers(0, 100),
)
def test_mqtt5_reads_the_connect(  # noqa: PLR0917 - hypothesis gives them in their order
    client_id: str,
    username: str | None,
    password: bytes | None,
    keepalive_s: int,
    drawn: tuple[Publication, dict[str, object]] | None,
    will_delay_s: int,
) -> None:
    login = Login(
        client_id=client_id,
        keepalive_s=keepalive_s,
        username=username,
        password=password,
        will=None if drawn is None else drawn[0],
        will_delay_s=will_delay_s,
    )
    properties = connect_properties(session_expiry_s=300, receive_maximum=64, max_packet_bytes=65_536)
    packet = read(packets.encode_connect(login, properties))
    fields = {
        "client_id": client_id,
        "username": username,
        "password": password,
        "keep_alive": keepalive_s,
        "clean_start": False,
        "session_expiry_interval": 300,
        "receive_max": 64,
        "max_packet_size": 65_536,
        "topic_alias_max": 0,
    }
    assert {name: getattr(packet, name) for name in fields} == fields
    will = packet.will  # type: ignore[attr-defined]
    assert (will is None) is (drawn is None)
    if drawn is not None:
        assert {name: getattr(will, name) for name in drawn[1]} == drawn[1]
        assert will.will_delay_interval == will_delay_s


@given(st.lists(TOPIC, min_size=1, max_size=4), PACKET_ID, st.booleans())
def test_mqtt5_reads_the_subscribe(filters: list[str], packet_id: int, retained: bool) -> None:  # noqa: FBT001
    packet = read(packets.encode_subscribe(packet_id, filters, retained=retained))
    assert packet.packet_id == packet_id  # type: ignore[attr-defined]
    for topic_filter, pattern in zip(packet.topic_filters, filters, strict=True):  # type: ignore[attr-defined]
        assert (topic_filter.pattern, topic_filter.max_qos) == (pattern, 1)
        assert (topic_filter.no_local, topic_filter.retain_as_published) == (False, False)
        assert topic_filter.retain_handling == (0 if retained else 2)


@given(PACKET_ID)
def test_mqtt5_reads_the_puback(packet_id: int) -> None:
    packet = read(packets.encode_puback(packet_id))
    assert (packet.packet_id, packet.reason_code) == (packet_id, 0)  # type: ignore[attr-defined]


@pytest.mark.parametrize("reason", [0x00, 0x80, 0x81, 0x82, 0x94, 0x95])
def test_mqtt5_reads_the_disconnect(reason: int) -> None:
    assert read(packets.encode_disconnect(reason)).reason_code == reason  # type: ignore[attr-defined]


def test_mqtt5_reads_the_ping() -> None:
    assert isinstance(read(packets.PING_REQUEST), mqtt5.PingReqPacket)


@given(
    st.booleans(),
    st.sampled_from([0x00, 0x80, 0x84, 0x87, 0x9B, 0x9D]),
    st.none() | st.integers(0, 65_535),
    st.integers(1, 65_535),
    st.integers(0, 2),
    st.tuples(st.booleans(), st.booleans(), st.booleans()),
    st.none() | st.integers(1, 2**32 - 1),
    st.none() | TEXT,
    PAIRS,
)
def test_what_mqtt5_answers_to_a_connect_is_read(  # noqa: PLR0917 - hypothesis gives them in their order
    session_present: bool,  # noqa: FBT001 - a test's parameter
    reason: int,
    keepalive_s: int | None,
    receive_maximum: int,
    maximum_qos: int,
    available: tuple[bool, bool, bool],
    max_packet_bytes: int | None,
    explanation: str | None,
    pairs: list[tuple[str, str]],
) -> None:
    retain, wildcards, shared = available
    session_present = session_present and reason == 0
    written = mqtt5.ConnAckPacket(
        session_present=session_present,
        reason_code=mqtt5.ConnAckReasonCode(reason),
        server_keep_alive=keepalive_s,
        receive_max=receive_maximum,
        max_qos=mqtt5.QoS(maximum_qos),
        retain_available=retain,
        wildcard_subscription_available=wildcards,
        shared_subscription_available=shared,
        max_packet_size=max_packet_bytes,
        reason_str=explanation,
        user_properties=pairs,
    ).write()
    answer = decoding.decode_connack(split(written)[1])
    assert (answer.session_present, answer.reason, answer.is_mqtt_5) == (session_present, reason, True)
    assert answer.properties.reason == explanation
    assert BrokerLimits.from_properties(answer.properties) == BrokerLimits(
        maximum_packet_bytes=max_packet_bytes,
        maximum_qos=maximum_qos,
        retain_available=retain,
        wildcard_available=wildcards,
        shared_available=shared,
        receive_maximum=receive_maximum,
        server_keepalive_s=keepalive_s,
    )


@given(PACKET_ID, st.sampled_from([0x00, 0x10, 0x87, 0x97]), st.none() | TEXT, PAIRS)
def test_what_mqtt5_acknowledges_is_read(
    packet_id: int, reason: int, explanation: str | None, pairs: list[tuple[str, str]]
) -> None:
    code = mqtt5.PubAckReasonCode(reason)
    written = mqtt5.PubAckPacket(packet_id, reason_code=code, reason_str=explanation, user_properties=pairs).write()
    assert decoding.decode_puback(split(written)[1]) == (packet_id, reason, explanation or None)


@given(PACKET_ID, st.lists(st.sampled_from([0, 1, 2, 0x87, 0xA2]), min_size=1, max_size=5), PAIRS)
def test_the_reasons_with_which_mqtt5_answers_a_subscribe_are_read(
    packet_id: int, reasons: list[int], pairs: list[tuple[str, str]]
) -> None:
    codes = [mqtt5.SubAckReasonCode(reason) for reason in reasons]
    written = mqtt5.SubAckPacket(packet_id, codes, user_properties=pairs).write()
    assert decoding.decode_suback(split(written)[1]) == (packet_id, bytes(reasons))


@given(st.sampled_from([0x00, 0x81, 0x8E, 0x9B, 0x9D]), st.none() | TEXT, st.none() | TEXT)
def test_why_mqtt5_disconnects_is_read(reason: int, explanation: str | None, server: str | None) -> None:
    written = mqtt5.DisconnectPacket(
        reason_code=mqtt5.DisconnectReasonCode(reason), reason_str=explanation, server_reference=server
    ).write()
    code, text = decoding.decode_disconnect(split(written)[1])
    assert (code, text or None) == (reason, explanation or server or None)
