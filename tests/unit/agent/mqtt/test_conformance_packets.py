"""MQTT 5 conformance: the form of the packets. Each test names the statements of appendix B for which it stands."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from drupelet_agent.mqtt.codec import decoding, packets
from drupelet_agent.mqtt.codec.encoding import write_text, write_variable
from drupelet_agent.mqtt.codec.packets import Login
from drupelet_agent.mqtt.codec.properties import connect_properties, publish_properties
from drupelet_agent.mqtt.errors import EncodingError, MalformedPacketError, ProtocolError, TopicAliasError
from drupelet_agent.mqtt.message import Message, Publication
from fakes.scripted_broker import (
    AUTH,
    CONNECT,
    DISCONNECT,
    PINGREQ,
    PUBACK,
    PUBLISH,
    SUBSCRIBE,
    Packet,
    Peer,
    ScriptedBroker,
    publish,
    text,
)
from support.broker.conformance import CLIENT_STATEMENTS, DEVIATIONS, conforms
from support.broker.mqtt_clients import eventually, mqtt_client

WILL = Publication("status", b"offline", qos=1, retain=True)
PROPERTIES = publish_properties(
    content_type="text/plain", is_text=True, correlation=b"7", user_properties=[("name", "value")]
)


@pytest.fixture(scope="module")
def sent() -> list[Packet]:
    """The packets of a client that does everything it can do."""
    asked = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.accept(b"\x13\x00\x01", session_present=True)
        await peer.send(publish("question", b"", packet_id=11))
        asked.set()
        await peer.serve()

    async def main() -> list[Packet]:
        async with (
            ScriptedBroker(script) as broker,
            mqtt_client(broker.port, username="pi", password=b"secret", will=WILL) as client,
        ):
            client.on_connected = lambda connection: connection.subscribe("in/+/#", "$share/pool/in")
            await eventually(lambda: client.messages)
            client.publish("at most once", b"a", qos=0)
            client.publish("at least once", b"b", properties=PROPERTIES, retain=True)
            client.connection.acknowledge(11)
            await eventually(lambda: any(one.kind == PINGREQ for one in broker.peers[0].received))
            await client.connection.disconnect()
            await eventually(lambda: broker.peers[0].received[-1].kind == DISCONNECT)
            return broker.peers[0].received

    return asyncio.run(main())


def only(sent: list[Packet], kind: int) -> Packet:
    (packet,) = (one for one in sent if one.kind == kind)
    return packet


def read_publish(first: int, body: bytes) -> Message:
    return decoding.decode_publish(first, memoryview(body))


def test_each_statement_for_clients_is_the_row_of_a_test() -> None:
    rows: set[str] = set()
    for path in Path(__file__).parent.glob("test_conformance_*.py"):
        for arguments in re.findall(r"^@conforms\(([^)]*)\)", path.read_text(encoding="utf-8"), re.MULTILINE):
            rows.update(re.findall(r"[\d.]+-\d+", arguments))
    assert rows - set(DEVIATIONS) == CLIENT_STATEMENTS


# Data types


@conforms("1.5.4-1", "3.1.3-4", "3.3.2-1", "3.3.2-13", "3.3.2-19", "3.8.3-1", "1.5.7-1", "3.1.3-11", "3.1.3-12")
def test_texts_are_well_formed_utf_8() -> None:
    assert write_text("aé€\N{PEDESTRIAN}") == b"\x00\x0aa\xc3\xa9\xe2\x82\xac\xf0\x9f\x9a\xb6"
    with pytest.raises(EncodingError, match="surrogate"):
        write_text("\ud800")


@conforms("1.5.4-2", "4.7.3-2")
def test_texts_have_no_null_character() -> None:
    with pytest.raises(EncodingError, match=r"U\+0000"):
        write_text("a\0b")
    with pytest.raises(EncodingError, match=r"U\+0000"):
        packets.publish_bytes(Publication("a\0b", b""))
    with pytest.raises(EncodingError, match=r"U\+0000"):
        packets.encode_subscribe(1, ["a\0b"])


@conforms("1.5.4-3")
def test_a_byte_order_mark_is_part_of_a_text() -> None:
    assert read_publish(0x30, text("\ufeffa") + b"\x00").topic == "\ufeffa"
    assert write_text("\ufeffa") == b"\x00\x04\xef\xbb\xbfa"


@conforms("1.5.5-1")
@pytest.mark.parametrize(
    ("number", "encoded"),
    [
        (0, "00"),
        (127, "7f"),
        (128, "8001"),
        (16_383, "ff7f"),
        (16_384, "808001"),
        (2_097_151, "ffff7f"),
        (2_097_152, "80808001"),
        (268_435_455, "ffffff7f"),
    ],
)
def test_a_variable_byte_integer_takes_as_few_bytes_as_it_can(number: int, encoded: str) -> None:
    assert write_variable(number).hex() == encoded


@conforms("4.7.3-3")
def test_a_topic_or_filter_takes_at_most_65535_bytes() -> None:
    assert packets.publish_bytes(Publication("a" * 65_535, b""))
    assert packets.encode_subscribe(1, ["a" * 65_535])
    with pytest.raises(EncodingError, match="65536 bytes"):
        packets.publish_bytes(Publication("a" * 65_536, b""))
    with pytest.raises(EncodingError, match="65536 bytes"):
        packets.encode_subscribe(1, ["a" * 65_536])


# Fixed header


@conforms("2.1.3-1", "3.8.1-1")
def test_reserved_flags_have_the_value_of_their_packet_type(sent: list[Packet]) -> None:
    flags = {one.kind: one.flags for one in sent if one.kind != PUBLISH}
    assert flags == {CONNECT: 0, SUBSCRIBE: 2, PUBACK: 0, PINGREQ: 0, DISCONNECT: 0}


@conforms("3.14.1-1", "3.15.1-1")
@pytest.mark.parametrize("first", [0x21, 0x41, 0x92, 0xD8, 0xE1, 0xF1])
def test_a_reserved_flag_that_is_set_is_a_malformed_packet(first: int) -> None:
    with pytest.raises(MalformedPacketError, match="reserved flags") as raised:
        decoding.check_flags(first)
    assert raised.value.reason == 0x81


# CONNECT


@conforms("3.1.0-1", "4.2-1", "4.12.0-7")
def test_the_first_packet_is_the_only_connect(sent: list[Packet]) -> None:
    assert [one.kind for one in sent].index(CONNECT) == 0
    only(sent, CONNECT)
    assert AUTH not in {one.kind for one in sent}


@conforms("3.1.2-1", "3.1.2-2", "3.1.2-3")
def test_the_connect_names_mqtt_5_and_its_reserved_flag_is_0(sent: list[Packet]) -> None:
    body = only(sent, CONNECT).body
    assert body[:7] == b"\x00\x04MQTT\x05"
    assert not body[7] & 1


@conforms("3.1.2-4", "3.1.2-9", "3.1.2-12", "3.1.2-17", "3.1.2-19", "3.1.3-1", "3.1.3-3")
def test_the_fields_of_the_connect_stand_in_their_order_as_its_flags_say(sent: list[Packet]) -> None:
    body = only(sent, CONNECT).body
    # User name, password, will retained at QoS 1, and no clean start.
    assert body[7] == 0b1110_1100
    properties_end = 11 + body[10]
    assert body[properties_end:] == (
        text("device") + b"\x00" + text("status") + text("offline") + text("pi") + text("secret")
    )


@conforms("3.1.2-11", "3.1.2-13", "3.1.2-16", "3.1.2-18")
def test_a_connect_without_account_and_will_has_neither_flags_nor_fields() -> None:
    properties = connect_properties(session_expiry_s=0, receive_maximum=1, max_packet_bytes=100)
    packet = packets.encode_connect(Login("device", keepalive_s=5), properties)
    assert packet[2 + 7] == 0
    assert packet.endswith(properties + text("device"))


# PUBLISH


@conforms("2.2.1-2", "4.3.1-1", "3.3.1-2", "2.2.2-1")
def test_a_publish_of_qos_0_has_no_identifier_no_dup_and_a_property_length_of_0(sent: list[Packet]) -> None:
    (packet,) = (one for one in sent if one.kind == PUBLISH and not one.qos)
    assert not packet.dup
    assert packet.body == text("at most once") + b"\x00" + b"a"


@conforms("4.3.2-2", "3.3.1-3")
def test_a_publish_of_qos_1_has_an_identifier_and_no_dup(sent: list[Packet]) -> None:
    (packet,) = (one for one in sent if one.kind == PUBLISH and one.qos)
    assert (packet.qos, packet.dup, packet.retain) == (1, False, True)
    assert packet.packet_id
    assert packet.body.endswith(bytes((len(PROPERTIES),)) + PROPERTIES + b"b")


@conforms("3.3.2-2", "4.7.0-1", "4.7.3-1")
@pytest.mark.parametrize("topic", ["", "+", "a/+/b", "a/#", "#"])
def test_a_topic_name_is_not_empty_and_has_no_wildcards(topic: str) -> None:
    with pytest.raises(EncodingError):
        packets.publish_bytes(Publication(topic, b""))
    with pytest.raises(ProtocolError):
        read_publish(0x30, text(topic) + b"\x00")


@conforms("3.3.2-14")
def test_no_publish_has_a_response_topic_that_could_have_wildcards(sent: list[Packet]) -> None:
    # The client answers requests and sends none; its properties are these four, in this order.
    assert [PROPERTIES[0], PROPERTIES[13], PROPERTIES[15], PROPERTIES[19]] == [0x03, 0x01, 0x09, 0x26]
    assert any(PROPERTIES in one.body for one in sent)


@conforms("3.2.2-17", "3.2.2-18", "3.3.2-8", "3.3.2-9", "3.3.4-6")
def test_a_publish_has_neither_topic_alias_nor_subscription_identifier(sent: list[Packet]) -> None:
    bodies = [one.body for one in sent if one.kind == PUBLISH]
    assert bodies[0] == text("at most once") + b"\x00a"
    assert bodies[1] == text("at least once") + b"\x00\x02" + bytes((len(PROPERTIES),)) + PROPERTIES + b"b"


@conforms("3.3.2-7")
def test_a_topic_alias_is_an_error_so_none_is_carried_to_another_connection() -> None:
    with pytest.raises(TopicAliasError) as raised:
        read_publish(0x30, text("a") + b"\x03\x23\x00\x01")
    assert raised.value.reason == 0x94


@conforms("3.3.1-4")
def test_a_publish_with_both_bits_of_the_qos_is_malformed() -> None:
    with pytest.raises(MalformedPacketError):
        read_publish(0x36, text("a") + b"\x00\x01\x00")


# PUBACK, SUBSCRIBE, DISCONNECT


@conforms("2.2.1-5", "3.4.2-1", "3.4.2-2", "3.4.2-3")
def test_a_puback_has_the_identifier_of_its_publish_and_reports_success(sent: list[Packet]) -> None:
    assert only(sent, PUBACK).body == b"\x00\x0b"


@conforms("3.8.3-2", "3.8.3-4", "3.8.3-5")
def test_a_subscribe_has_filters_with_valid_options(sent: list[Packet]) -> None:
    # QoS 1, no local off, retain as published off, retained messages not sent.
    assert only(sent, SUBSCRIBE).filters == [("in/+/#", 0x21), ("$share/pool/in", 0x21)]


@conforms("4.7.1-1", "4.7.1-2", "4.8.2-1", "4.8.2-2")
@pytest.mark.parametrize(
    "topic_filter",
    [
        "",
        "a/#/b",
        "a#",
        "#a",
        "a+",
        "a/+b",
        "$share/a",
        "$share//a",
        "$share/a/",
        "$share/+/a",
        "$share/#/a",
        "$share/a/b+",
    ],
)
def test_a_filter_with_a_misplaced_wildcard_or_share_name_is_not_sent(topic_filter: str) -> None:
    with pytest.raises(EncodingError):
        packets.encode_subscribe(1, ["fine", topic_filter])


@pytest.mark.parametrize("topic_filter", ["#", "+", "+/+", "a/+/b/#", "/", "$share/a/#", "$share/a//b", "$SYS/#"])
def test_a_filter_with_wildcards_in_their_places_is_sent(topic_filter: str) -> None:
    assert text(topic_filter) in packets.encode_subscribe(1, [topic_filter])


@conforms("3.14.2-1", "3.14.2-3", "3.14.2-4", "3.14.4-1")
def test_nothing_follows_the_disconnect_and_it_reports_a_normal_end(sent: list[Packet]) -> None:
    assert sent[-1].kind == DISCONNECT
    assert only(sent, DISCONNECT).body == b"\x00"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x00",
        b"\x02\x00\x00",
        b"\x00\x00\x03\x21\x00\x00",
        b"\x00\x00\x05\x27\x00\x00\x00\x00",
        b"\x00\x00\x02\x24\x02",
        b"\x00\x00\x02\x25\x02",
        b"\x00\x00\x04\x24\x01\x24\x01",
        b"\x00\x00\x02\x01\x01",
        b"\x00\x00\x00\x00",
        b"\x00\x00\x05\x21",
    ],
)
def test_a_connack_that_breaks_the_specification_is_refused(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        decoding.decode_connack(memoryview(body))


@pytest.mark.parametrize("body", [b"", b"\x00", b"\x00\x00", b"\x00\x01\x00\x03\x21\x00\x01", b"\x00\x01\x00\x01"])
def test_a_puback_that_breaks_the_specification_is_refused(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        decoding.decode_puback(memoryview(body))


@pytest.mark.parametrize(
    ("first", "body"),
    [
        (0x30, b""),
        (0x30, b"\x00\x02a"),
        (0x30, text("a")),
        (0x32, text("a") + b"\x00\x00\x00"),
        (0x32, text("a") + b"\x00"),
        (0x38, text("a") + b"\x00"),
        (0x34, text("a") + b"\x00\x01\x00"),
        (0x30, text("a") + b"\x05\x02\x00\x00"),
        (0x30, text("a") + b"\x0a" + b"\x02\x00\x00\x00\x01" * 2),
        (0x30, text("a") + b"\x03\x21\x00\x01"),
    ],
)
def test_a_publish_that_breaks_the_specification_is_refused(first: int, body: bytes) -> None:
    with pytest.raises(ProtocolError):
        read_publish(first, body)
