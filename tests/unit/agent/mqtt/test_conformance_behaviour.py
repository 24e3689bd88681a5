"""MQTT 5 conformance: what a client does and when. Each test names the statements of appendix B for which it stands."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from drupelet_agent.mqtt.message import Publication
from drupelet_agent.mqtt.outcome import PublishOutcome
from drupelet_agent.mqtt.status import ConnectionProblem
from fakes.scripted_broker import (
    AUTH,
    CONNACK,
    CONNECT,
    DISCONNECT,
    PINGREQ,
    PUBACK,
    PUBLISH,
    SUBACK,
    SUBSCRIBE,
    Peer,
    Script,
    ScriptedBroker,
    connack,
    disconnect,
    packet,
    puback,
    publish,
    text,
)
from support.broker.conformance import conforms
from support.broker.mqtt_clients import MqttClient, eventually
from support.broker.scenarios import accepting, run_scenario, sent


async def resuming(peer: Peer) -> None:
    """Accepts, has the session, and answers everything."""
    await peer.accept(session_present=True)
    await peer.serve()


async def reading(peer: Peer) -> None:
    """Accepts, reads, and answers nothing."""
    await peer.accept(session_present=True)
    await peer.closed()


def losing(count: int) -> Script:
    """Accepts, reads so many publications, and is shut down."""

    async def script(peer: Peer) -> None:
        await peer.accept(session_present=True)
        for _ in range(count):
            await peer.expect(PUBLISH)
        await peer.send(disconnect(0x8B))

    return script


# Keep alive


@conforms("3.1.2-20")
def test_something_is_sent_in_each_period_of_the_keep_alive() -> None:
    times_s: list[float] = []

    async def script(peer: Peer) -> None:
        await peer.accept()
        times_s.append(asyncio.get_running_loop().time())
        while len(times_s) < 4:
            await peer.expect(PINGREQ)
            times_s.append(asyncio.get_running_loop().time())
            await peer.send(packet(0xD0, b""))
        await peer.closed()

    async def scenario(_: ScriptedBroker, __: MqttClient) -> None:
        await eventually(lambda: len(times_s) == 4)
        assert all(later - earlier <= 1 for earlier, later in pairwise(times_s))

    run_scenario(scenario, script, keepalive_s=1)


@conforms("3.1.2-21", "3.2.2-21")
def test_the_keep_alive_of_the_broker_is_used_in_place_of_the_clients() -> None:
    async def scenario(broker: ScriptedBroker, _: MqttClient) -> None:
        await eventually(lambda: sent(broker, 0, PINGREQ))

    run_scenario(scenario, accepting(b"\x13\x00\x01"), keepalive_s=600)


# The broker's limits


@conforms("3.2.2-11")
def test_nothing_is_published_above_the_maximum_qos() -> None:
    async def scenario(broker: ScriptedBroker, client: MqttClient) -> None:
        client.publish("a")
        await eventually(lambda: sent(broker, 0, PUBLISH))
        assert [one.qos for one in sent(broker, 0, PUBLISH)] == [0]

    run_scenario(scenario, accepting(b"\x24\x00"))


@conforms("3.2.2-14")
def test_nothing_is_published_as_retained_where_that_is_not_available() -> None:
    async def scenario(broker: ScriptedBroker, client: MqttClient) -> None:
        client.publish("a", retain=True)
        client.connection.publish(Publication("b", b"", qos=0, retain=True))
        await eventually(lambda: len(sent(broker, 0, PUBLISH)) >= 1)
        assert not any(one.retain for one in sent(broker, 0, PUBLISH))

    run_scenario(scenario, accepting(b"\x25\x00"))


@conforms("3.2.2-15")
def test_no_packet_exceeds_the_maximum_packet_size() -> None:
    filters = [f"{letter}" * 20 for letter in "abcdefgh"]

    async def scenario(broker: ScriptedBroker, client: MqttClient) -> None:
        client.on_connected = lambda connection: connection.subscribe(*filters, "x" * 80)
        client.publish("large", bytes(100))
        client.publish("small", bytes(10))
        await eventually(lambda: len(client.outcomes) == 2)
        assert client.outcomes == {"large": PublishOutcome.TOO_LARGE, "small": PublishOutcome.ACKNOWLEDGED}
        subscribed = [topic for one in sent(broker, 0, SUBSCRIBE) for topic, _ in one.filters]
        assert subscribed == filters
        assert client.events[0].problem is ConnectionProblem.SUBSCRIPTION_REFUSED
        assert all(len(one.body) + 2 <= 64 for one in broker.peers[0].received if one.kind != CONNECT)

    run_scenario(scenario, accepting(b"\x27\x00\x00\x00\x40"))


@conforms("3.3.4-7", "4.9.0-1", "4.9.0-2")
def test_no_more_than_the_receive_maximum_is_unacknowledged() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept(b"\x21\x00\x02")
        for first in (1, 3, 5):
            pair = [await peer.expect(PUBLISH), await peer.expect(PUBLISH)]
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(peer.receive(), 0.05)
            assert [one.packet_id for one in pair] == [first, first + 1]
            await peer.send(puback(first) + puback(first + 1))
        await peer.closed()

    async def scenario(_: ScriptedBroker, client: MqttClient) -> None:
        for number in range(6):
            client.publish(str(number))
        await eventually(lambda: len(client.outcomes) == 6)

    run_scenario(scenario, script)


@conforms("3.3.4-8", "4.9.0-3")
def test_other_packets_are_not_delayed_while_the_quota_is_used_up() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept(b"\x21\x00\x01")
        await peer.expect(PUBLISH)
        await peer.send(publish("question", packet_id=5))
        await peer.closed()

    async def scenario(broker: ScriptedBroker, client: MqttClient) -> None:
        client.publish("a")
        client.publish("b")
        await eventually(lambda: client.messages)
        client.connection.acknowledge(5)
        client.connection.subscribe("in")
        client.connection.publish(Publication("c", b"", qos=0))
        await eventually(lambda: sent(broker, 0, PUBACK) and sent(broker, 0, SUBSCRIBE))
        assert [one.qos for one in sent(broker, 0, PUBLISH)] == [1, 0]

    run_scenario(scenario, script)


# QoS 1: sending


@conforms("2.2.1-3", "4.3.2-1")
def test_each_publish_and_subscribe_has_an_identifier_that_is_not_in_use() -> None:
    async def scenario(broker: ScriptedBroker, client: MqttClient) -> None:
        client.on_connected = lambda connection: connection.subscribe("in")
        for number in range(50):
            client.publish(str(number))
        await eventually(lambda: len(sent(broker, 0, PUBLISH)) == 50 and sent(broker, 0, SUBSCRIBE))
        identifiers = [one.packet_id for one in broker.peers[0].received if one.kind in {PUBLISH, SUBSCRIBE}]
        assert len(set(identifiers)) == 51
        assert 0 not in identifiers

    run_scenario(scenario, reading)


@conforms("4.3.2-3", "4.1.0-1", "3.1.2-23", "3.1.3-2")
def test_a_publication_is_unacknowledged_until_its_puback_through_connections() -> None:
    async def scenario(broker: ScriptedBroker, client: MqttClient) -> None:
        client.publish("a")
        await eventually(lambda: sent(broker, 1, PUBLISH))
        assert (client.outcomes, client.connection.pending_count) == ({}, 1)
        assert {peer.received[0].body for peer in broker.peers} == {broker.peers[0].received[0].body}

    run_scenario(scenario, losing(1), reading)


@conforms("3.3.1-1", "4.4.0-1", "4.6.0-1")
def test_what_is_unacknowledged_is_sent_again_once_as_a_duplicate_in_its_order_with_its_identifiers() -> None:
    async def scenario(broker: ScriptedBroker, client: MqttClient) -> None:
        for topic in ("a", "b", "c"):
            client.publish(topic)
        await eventually(lambda: len(client.outcomes) == 3)
        await asyncio.sleep(0.05)
        first, second = (
            [(one.topic, one.packet_id, one.dup) for one in sent(broker, number, PUBLISH)] for number in (0, 1)
        )
        assert first == [("a", 1, False), ("b", 2, False), ("c", 3, False)]
        assert second == [("a", 1, True), ("b", 2, True), ("c", 3, True)]

    run_scenario(scenario, losing(3), resuming)


@conforms("4.4.0-2")
def test_a_publication_that_was_rejected_is_not_sent_again() -> None:
    async def rejecting(peer: Peer) -> None:
        await peer.accept(session_present=True)
        received = await peer.expect(PUBLISH)
        await peer.send(puback(received.packet_id, 0x97) + disconnect(0x8B))

    async def scenario(broker: ScriptedBroker, client: MqttClient) -> None:
        client.publish("a")
        await eventually(lambda: len(client.sessions) == 2)
        await asyncio.sleep(0.05)
        assert client.outcomes == {"a": PublishOutcome.REJECTED}
        assert sent(broker, 1, PUBLISH) == []

    run_scenario(scenario, rejecting, resuming)


@conforms("3.2.2-5")
def test_without_the_brokers_session_what_is_unacknowledged_is_published_as_new() -> None:
    async def scenario(broker: ScriptedBroker, client: MqttClient) -> None:
        client.publish("a")
        await eventually(lambda: client.outcomes == {"a": PublishOutcome.ACKNOWLEDGED})
        assert [one.dup for one in sent(broker, 1, PUBLISH)] == [False]

    run_scenario(scenario, losing(1), accepting(b""))


@conforms("3.2.2-4")
def test_a_client_that_was_restarted_resumes_the_session_of_the_broker() -> None:
    async def scenario(_: ScriptedBroker, client: MqttClient) -> None:
        await eventually(lambda: client.sessions == [True])
        assert client.connection.connected

    run_scenario(scenario, resuming)


# QoS 1: receiving


@conforms("3.3.4-1", "4.3.2-4", "4.5.0-2", "4.6.0-2")
def test_messages_of_qos_1_are_acknowledged_in_the_order_in_which_they_are_dealt_with_and_those_of_qos_0_are_not() -> (
    None
):
    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send(publish("a", packet_id=7) + publish("b") + publish("c", packet_id=3))
        await peer.closed()

    async def scenario(broker: ScriptedBroker, client: MqttClient) -> None:
        await eventually(lambda: len(client.messages) == 3)
        for message in client.messages:
            if message.qos:
                client.connection.acknowledge(message.mid)
        await eventually(lambda: len(sent(broker, 0, PUBACK)) == 2)
        assert [one.packet_id for one in sent(broker, 0, PUBACK)] == [7, 3]

    run_scenario(scenario, script)


@conforms("4.3.2-5")
def test_an_identifier_that_was_acknowledged_is_a_new_message_whatever_its_dup_flag() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send(publish("a", b"1", packet_id=7))
        await peer.expect(PUBACK)
        await peer.send(publish("a", b"2", packet_id=7, flags=8))
        await peer.closed()

    async def scenario(_: ScriptedBroker, client: MqttClient) -> None:
        await eventually(lambda: client.messages)
        client.connection.acknowledge(7)
        await eventually(lambda: [message.payload for message in client.messages] == [b"1", b"2"])

    run_scenario(scenario, script)


# Errors


@conforms("3.14.4-2")
def test_the_connection_is_closed_after_the_disconnect() -> None:
    ended = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.closed()
        ended.set()

    async def scenario(broker: ScriptedBroker, client: MqttClient) -> None:
        await eventually(lambda: client.connection.connected)
        await client.connection.disconnect()
        await asyncio.wait_for(ended.wait(), 5)
        assert broker.peers[0].received[-1].kind == DISCONNECT

    run_scenario(scenario, script)


@conforms("4.13.2-1")
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (connack(), 0x82),
        (packet(AUTH << 4, b"\x18\x00"), 0x82),
        (packet(0x50, b"\x00\x01"), 0x82),
        (packet(0x62, b"\x00\x01"), 0x82),
        (packet(0xB0, b"\x00\x01\x00\x00"), 0x82),
        (packet(CONNECT << 4, b""), 0x82),
        (packet(0x00, b""), 0x82),
        (packet(SUBACK << 4, b"\x00\x09\x00\x01"), 0x82),
        (packet(PUBACK << 4, b"\x00\x00"), 0x82),
        (packet(PUBACK << 4 | 1, b"\x00\x01"), 0x81),
        (packet(0x36, text("a") + b"\x00\x01\x00"), 0x81),
        (packet(0x30, text("a") + b"\x02\x7f\x00"), 0x81),
        (packet(0x30, text("a") + b"\x03\x23\x00\x01"), 0x94),
        (b"\x30" + b"\xff\xff\x7f", 0x95),
    ],
)
def test_a_packet_that_breaks_the_specification_ends_the_connection_with_its_reason(data: bytes, reason: int) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send(data)
        await peer.closed()

    async def scenario(broker: ScriptedBroker, client: MqttClient) -> None:
        await eventually(lambda: sent(broker, 0, DISCONNECT))
        assert sent(broker, 0, DISCONNECT)[0].body == bytes((reason,))
        assert client.events[0].problem is ConnectionProblem.PROTOCOL_ERROR
        # The script ends when the client has closed the connection, and the client connects again.
        await eventually(lambda: len(client.sessions) == 2)

    run_scenario(scenario, script, resuming)


def test_a_packet_before_the_connack_ends_the_connection() -> None:
    async def script(peer: Peer) -> None:
        await peer.expect(CONNECT)
        await peer.send(publish("a") + packet(CONNACK << 4, b"\x00\x00\x00"))
        await peer.closed()

    async def scenario(broker: ScriptedBroker, client: MqttClient) -> None:
        await eventually(lambda: len(client.sessions) == 1)
        assert sent(broker, 0, DISCONNECT)[0].body == b"\x82"
        assert client.messages == []

    run_scenario(scenario, script, resuming)
