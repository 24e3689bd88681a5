"""The connection against a scripted broker: outcomes, refusals, resends, bounds, backoff."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from drupelet_agent.mqtt.connection import BrokerConnection
from drupelet_agent.mqtt.errors import ConnectFailedError
from drupelet_agent.mqtt.message import Publication
from drupelet_agent.mqtt.options import ConnectionOptions
from drupelet_agent.mqtt.outcome import PublishOutcome
from drupelet_agent.mqtt.status import ConnectionProblem
from fakes.scripted_broker import (
    AUTH,
    CONNECT,
    DISCONNECT,
    PUBACK,
    PUBLISH,
    SUBSCRIBE,
    Peer,
    Script,
    ScriptedBroker,
    connack,
    connack_311,
    disconnect,
    packet,
    puback,
    publish,
    suback,
    text,
)
from support.broker.mqtt_clients import MqttClient, eventually, mqtt_client

Scenario = Callable[[ScriptedBroker, MqttClient], Awaitable[None]]


def run(scenario: Scenario, *scripts: Script, **options: object) -> ScriptedBroker:
    """Run a scenario with a client of a scripted broker."""

    async def main() -> ScriptedBroker:
        async with ScriptedBroker(*scripts) as broker, mqtt_client(broker.port, **options) as client:
            await scenario(broker, client)
        return broker

    return asyncio.run(main())


async def obliging(peer: Peer) -> None:
    """Accepts, and answers everything."""
    await peer.accept()
    await peer.serve()


def accepting(properties: bytes) -> Script:
    async def script(peer: Peer) -> None:
        await peer.accept(properties)
        await peer.serve()

    return script


def refusing(reply: bytes) -> Script:
    async def script(peer: Peer) -> None:
        await peer.expect(CONNECT)
        await peer.send(reply)
        await peer.closed()

    return script


def published(peer: Peer) -> list[str]:
    return [one.topic for one in peer.received if one.kind == PUBLISH]


# Outcomes


def test_a_publication_is_acknowledged_when_the_broker_has_acknowledged_it() -> None:
    release = asyncio.Event()

    async def slow(peer: Peer) -> None:
        await peer.accept()
        received = await peer.expect(PUBLISH)
        await release.wait()
        await peer.send(puback(received.packet_id))
        await peer.serve()

    async def scenario(broker: ScriptedBroker, client: MqttClient) -> None:
        client.publish("a", b"payload")
        await eventually(lambda: broker.peers and published(broker.peers[0]) == ["a"])
        assert client.outcomes == {}
        assert client.connection.pending_bytes == 2 + 2 + 1 + 2 + 1 + len(b"payload")
        release.set()
        await eventually(lambda: client.outcomes == {"a": PublishOutcome.ACKNOWLEDGED})
        assert client.connection.pending_bytes == 0

    run(scenario, slow)


def test_a_publication_of_qos_0_is_acknowledged_when_it_is_handed_to_the_socket() -> None:
    async def scenario(_: ScriptedBroker, client: MqttClient) -> None:
        await eventually(lambda: client.connection.connected)
        client.publish("a", qos=0)
        assert client.outcomes == {"a": PublishOutcome.ACKNOWLEDGED}

    run(scenario, obliging)


def test_a_publication_of_qos_0_without_a_connection_is_dropped() -> None:
    client = MqttClient()
    client.open(ConnectionOptions(host="127.0.0.1", port=1, client_id="device"))
    client.publish("a", qos=0)
    assert client.outcomes == {"a": PublishOutcome.DROPPED}


def test_a_publication_that_the_broker_rejects_says_why() -> None:
    async def rejecting(peer: Peer) -> None:
        await peer.accept()
        await peer.serve(puback_reason=0x87)

    async def scenario(_: ScriptedBroker, client: MqttClient) -> None:
        client.publish("a")
        await eventually(lambda: client.outcomes)
        assert client.outcomes == {"a": PublishOutcome.REJECTED}
        assert "Not authorized" in client.reasons["a"]

    run(scenario, rejecting)


def test_a_reason_below_0x80_in_a_puback_is_a_success() -> None:
    async def without_subscribers(peer: Peer) -> None:
        await peer.accept()
        await peer.serve(puback_reason=0x10)

    async def scenario(_: ScriptedBroker, client: MqttClient) -> None:
        client.publish("a")
        await eventually(lambda: client.outcomes == {"a": PublishOutcome.ACKNOWLEDGED})

    run(scenario, without_subscribers)


@pytest.mark.parametrize("qos", [0, 1])
def test_a_publication_over_the_brokers_maximum_packet_size_is_not_sent_and_those_behind_it_are(qos: int) -> None:
    async def scenario(broker: ScriptedBroker, client: MqttClient) -> None:
        await eventually(lambda: client.connection.connected)
        # The packet of 300 bytes is the largest: 3 + 2 + 1 bytes of header and topic, and 2 of an identifier.
        client.publish("x", bytes(301 - 7 - 2 * qos), qos=qos)
        client.publish("y", bytes(300 - 7 - 2 * qos), qos=qos)
        client.publish("z", qos=1)
        await eventually(lambda: len(client.outcomes) == 3)
        assert client.outcomes["x"] is PublishOutcome.TOO_LARGE
        assert client.reasons["x"] == "a packet of 301 bytes: the broker accepts at most 300"
        assert published(broker.peers[0]) == ["y", "z"]
        assert client.connection.pending_bytes == 0

    run(scenario, accepting(b"\x27" + (300).to_bytes(4, "big")))


def test_a_publication_that_waited_is_measured_when_the_limit_is_known() -> None:
    async def scenario(_: ScriptedBroker, client: MqttClient) -> None:
        client.publish("x", bytes(400))
        await eventually(lambda: client.outcomes == {"x": PublishOutcome.TOO_LARGE})

    run(scenario, accepting(b"\x27" + (300).to_bytes(4, "big")))


@pytest.mark.parametrize(
    "topic", ["", "a/+", "a/#", "a\0b", "\ud800", "€" * 21_846], ids=["empty", "+", "#", "null", "surrogate", "long"]
)
def test_a_topic_that_cannot_be_encoded_is_refused_and_the_connection_stands(topic: str) -> None:
    async def scenario(broker: ScriptedBroker, client: MqttClient) -> None:
        client.publish(topic)
        assert client.outcomes == {topic: PublishOutcome.TOO_LARGE}
        assert client.connection.pending_bytes == 0
        client.publish("b")
        await eventually(lambda: client.outcomes.get("b") is PublishOutcome.ACKNOWLEDGED)
        assert len(broker.peers) == 1

    run(scenario, obliging)


def test_what_is_not_acknowledged_when_the_session_ends_is_dropped() -> None:
    async def silent(peer: Peer) -> None:
        await peer.accept()
        await peer.closed()

    client_after: list[MqttClient] = []

    async def scenario(broker: ScriptedBroker, client: MqttClient) -> None:
        client.publish("a")
        await eventually(lambda: broker.peers and published(broker.peers[0]) == ["a"])
        client_after.append(client)

    run(scenario, silent)
    assert client_after[0].outcomes == {"a": PublishOutcome.DROPPED}
    assert client_after[0].connection.pending_count == 0


def test_an_exception_in_an_outcome_callback_leaves_the_connection_as_it_is() -> None:
    async def scenario(broker: ScriptedBroker, client: MqttClient) -> None:
        def explode(_: PublishOutcome, __: str) -> None:
            raise ValueError

        client.connection.publish(Publication("a", b""), on_outcome=explode)
        client.publish("b")
        await eventually(lambda: client.outcomes == {"b": PublishOutcome.ACKNOWLEDGED})
        assert len(broker.peers) == 1

    run(scenario, obliging)


# Publications that end the connection


def hanging_up_on(topic: str, reply: bytes = b"") -> Script:
    async def script(peer: Peer) -> None:
        await peer.accept(session_present=True)
        while True:
            received = await peer.receive()
            if received.kind != PUBLISH:
                continue
            if received.topic == topic:
                await peer.send(reply)
                return
            await peer.send(puback(received.packet_id))

    return script


@pytest.mark.parametrize("reply", [b"", disconnect(0x81), disconnect(0x87)], ids=["closes", "malformed", "forbidden"])
def test_a_publication_that_ends_the_connection_three_times_in_a_row_is_dropped(reply: bytes) -> None:
    async def scenario(broker: ScriptedBroker, client: MqttClient) -> None:
        for topic in ("a", "poison", "b"):
            client.publish(topic)
        await eventually(lambda: len(client.outcomes) == 3)
        assert client.outcomes["poison"] is PublishOutcome.DROPPED
        assert "ended the connection 3 times in a row" in client.reasons["poison"]
        assert client.outcomes["a"] is client.outcomes["b"] is PublishOutcome.ACKNOWLEDGED
        assert [event.problem for event in client.events].count(ConnectionProblem.PUBLICATION_DROPPED) == 1
        assert len(broker.peers) == 4

    run(scenario, hanging_up_on("poison", reply))


def test_two_publications_that_end_the_connection_are_both_dropped_and_reported() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        while (received := await peer.expect(PUBLISH)).topic == "good":
            await peer.send(puback(received.packet_id))

    async def scenario(_: ScriptedBroker, client: MqttClient) -> None:
        for topic in ("bad1", "bad2", "good"):
            client.publish(topic)
        await eventually(lambda: len(client.outcomes) == 3)
        assert client.outcomes["bad1"] is client.outcomes["bad2"] is PublishOutcome.DROPPED
        assert client.outcomes["good"] is PublishOutcome.ACKNOWLEDGED
        assert [event.problem for event in client.events].count(ConnectionProblem.PUBLICATION_DROPPED) == 2

    run(scenario, script)


@pytest.mark.parametrize("reason", [0x8B, 0x8E, 0x98, 0x9D])
def test_a_publication_is_not_blamed_when_the_broker_names_another_reason(reason: int) -> None:
    async def scenario(broker: ScriptedBroker, client: MqttClient) -> None:
        client.publish("a")
        await eventually(lambda: len(broker.peers) >= 5)
        assert client.outcomes == {}

    run(scenario, hanging_up_on("a", disconnect(reason)))


def test_an_innocent_publication_survives_two_lost_connections() -> None:
    async def scenario(broker: ScriptedBroker, client: MqttClient) -> None:
        client.publish("a")
        await eventually(lambda: client.outcomes == {"a": PublishOutcome.ACKNOWLEDGED})
        assert len(broker.peers) == 3

    run(scenario, hanging_up_on("a"), hanging_up_on("a"), obliging)


def test_unacknowledged_publications_go_out_again_in_their_order_after_two_losses() -> None:
    async def deaf(peer: Peer) -> None:
        await peer.accept(session_present=True)
        for _ in range(3):
            await peer.expect(PUBLISH)
        # The link is to blame, not a publication.
        await peer.send(disconnect(0x8B))

    async def takes_one(peer: Peer) -> None:
        await peer.accept(b"\x21\x00\x01", session_present=True)
        await peer.expect(PUBLISH)
        await peer.send(disconnect(0x8B))

    async def scenario(broker: ScriptedBroker, client: MqttClient) -> None:
        for topic in ("a", "b", "c"):
            client.publish(topic)
        await eventually(lambda: len(client.outcomes) == 3)
        sent = [
            [(one.topic, one.dup, one.packet_id) for one in peer.received if one.kind == PUBLISH]
            for peer in broker.peers
        ]
        assert sent == [
            [("a", False, 1), ("b", False, 2), ("c", False, 3)],
            [("a", True, 1)],
            [("a", False, 1), ("b", False, 2), ("c", False, 3)],
        ]

    run(scenario, deaf, takes_one, obliging)


# Accepting


def test_an_exception_while_a_connection_is_accepted_ends_it_and_the_next_is_whole() -> None:
    calls = itertools.count()

    def subscribe(connection: BrokerConnection) -> None:
        if next(calls) == 0:
            raise ValueError
        connection.subscribe("a/b")

    async def scenario(broker: ScriptedBroker, client: MqttClient) -> None:
        client.on_connected = subscribe
        await eventually(
            lambda: len(broker.peers) == 2 and any(one.kind == SUBSCRIBE for one in broker.peers[1].received)
        )
        assert broker.peers[0].received[-1].kind == DISCONNECT
        assert [event.problem for event in client.events] == [ConnectionProblem.INTERNAL]
        assert client.connection.connected

    run(scenario, obliging)


def test_a_filter_that_cannot_be_encoded_ends_the_connection_that_is_being_accepted() -> None:
    async def scenario(broker: ScriptedBroker, client: MqttClient) -> None:
        client.on_connected = lambda connection: connection.subscribe("€" * 30_000)
        await eventually(lambda: len(broker.peers) >= 3)
        assert client.connection.status.problem is ConnectionProblem.INTERNAL
        # A failed attempt waits longer and longer.
        assert client.waits[:2] == [0.5, 1.5]

    run(scenario, obliging)


def test_what_the_broker_sends_right_behind_the_connack_is_handled_after_the_connect() -> None:
    async def eager(peer: Peer) -> None:
        await peer.expect(CONNECT)
        await peer.send(connack(session_present=True) + publish("a", b"1", packet_id=9))
        await peer.serve()

    async def scenario(broker: ScriptedBroker, client: MqttClient) -> None:
        await eventually(lambda: client.messages)
        assert (client.messages[0].topic, client.messages[0].mid, client.sessions) == ("a", 9, [True])
        client.connection.acknowledge(9)
        await eventually(lambda: any(one.kind == PUBACK for one in broker.peers[0].received))

    run(scenario, eager)


def test_packets_that_arrive_byte_by_byte_are_handled() -> None:
    async def trickling(peer: Peer) -> None:
        await peer.expect(CONNECT)
        await peer.send(connack(0, b"\x21\x00\x05"), split=True)
        await peer.send(publish("a", b"payload", packet_id=3, properties=b"\x08" + text("reply")), split=True)
        await peer.serve(split=True)

    async def scenario(_: ScriptedBroker, client: MqttClient) -> None:
        client.publish("b")
        await eventually(lambda: client.messages and client.outcomes == {"b": PublishOutcome.ACKNOWLEDGED})
        assert (client.messages[0].payload, client.messages[0].response_topic) == (b"payload", "reply")
        assert client.connection.broker is not None
        assert client.connection.broker.receive_maximum == 5

    run(scenario, trickling)


def test_a_message_handler_that_raises_does_not_keep_the_next_message_from_being_handled() -> None:
    class Fragile(list[Any]):
        def append(self, message: Any) -> None:  # noqa: ANN401 - as `list` has it
            super().append(message)
            if len(self) == 1:
                raise ValueError

    async def chatty(peer: Peer) -> None:
        await peer.accept()
        await peer.send(publish("a") + publish("b"))
        await peer.serve()

    async def main() -> None:
        client = MqttClient(messages=Fragile())
        async with ScriptedBroker(chatty) as broker:
            client.open(ConnectionOptions(host="127.0.0.1", port=broker.port, client_id="device"))
            await client.connection.connect()
            await eventually(lambda: len(client.messages) == 2)
            assert client.connection.connected
            await client.connection.disconnect()

    asyncio.run(main())


# Refusals


@pytest.mark.parametrize(
    ("reply", "problem", "words"),
    [
        (connack_311(1), ConnectionProblem.PROTOCOL_VERSION, "it speaks MQTT 3.1.1 (return code 1"),
        (connack_311(5), ConnectionProblem.PROTOCOL_VERSION, "not authorized"),
        (connack_311(0), ConnectionProblem.PROTOCOL_VERSION, "it speaks MQTT 3.1.1"),
        (connack(0x84), ConnectionProblem.PROTOCOL_VERSION, "Unsupported Protocol Version"),
        (connack(0x86), ConnectionProblem.ACCOUNT_REFUSED, "correct the user name and the password"),
        (connack(0x87, b"\x1f" + text("go away")), ConnectionProblem.ACCOUNT_REFUSED, "Not authorized (go away)"),
        (connack(0x85), ConnectionProblem.REFUSED, "Client Identifier not valid"),
        (connack(0x89), ConnectionProblem.BUSY, "Server busy"),
        (connack(0x9C, b"\x1c" + text("other:1883")), ConnectionProblem.REFUSED, "Use another server (other:1883)"),
        (connack(0x9D), ConnectionProblem.REFUSED, "Server moved"),
        (connack(1), ConnectionProblem.REFUSED, "reason code 0x01"),
    ],
)
def test_a_reason_other_than_0_is_a_refusal_with_an_explanation(
    reply: bytes, problem: ConnectionProblem, words: str
) -> None:
    async def scenario(_: ScriptedBroker, client: MqttClient) -> None:
        await eventually(lambda: len(client.waits) >= 2)
        status = client.connection.status
        assert (status.connected, status.problem) == (False, problem)
        assert words in status.explanation
        assert client.sessions == []
        assert [event.problem for event in client.events] == [problem]

    run(scenario, refusing(reply))


def test_connect_raises_the_refusal() -> None:
    async def main() -> None:
        async with ScriptedBroker(refusing(connack(0x87))) as broker:
            client = MqttClient()
            client.open(ConnectionOptions(host="127.0.0.1", port=broker.port, client_id="device"))
            with pytest.raises(ConnectFailedError, match="refuses the connection: Not authorized") as raised:
                await client.connection.connect()
            assert raised.value.problem is ConnectionProblem.ACCOUNT_REFUSED

    asyncio.run(main())


def test_a_refused_account_is_tried_again_after_minutes_in_the_end_and_reported_once() -> None:
    async def scenario(_: ScriptedBroker, client: MqttClient) -> None:
        await eventually(lambda: len(client.waits) >= 8)
        assert client.waits[:8] == [0.5, 1.5, 4.5, 13.5, 40.5, 121.5, 300, 300]
        assert len(client.events) == 1

    run(scenario, refusing(connack(0x86)))


def test_a_broker_that_is_not_there_is_reported_once() -> None:
    async def main() -> None:
        async with mqtt_client(1) as client:
            await eventually(lambda: len(client.waits) >= 6)
            assert client.waits[:6] == [0.5, 1.5, 4.5, 13.5, 30, 30]
            assert [event.problem for event in client.events] == [ConnectionProblem.UNREACHABLE]
            assert "Connection refused" in client.connection.status.explanation

    asyncio.run(main())


# Ends of connections


@pytest.mark.parametrize(
    ("reply", "problem", "words"),
    [
        (disconnect(0x8E), ConnectionProblem.CLIENT_ID_TAKEN, "give each device a name of its own"),
        (disconnect(0x9C), ConnectionProblem.REFUSED, "Use another server"),
        (disconnect(0x9D, b"\x1c" + text("b:1")), ConnectionProblem.REFUSED, "Server moved (b:1)"),
        (disconnect(0x9B), ConnectionProblem.UNSUPPORTED, "QoS not supported"),
        (disconnect(0x8B), ConnectionProblem.BUSY, "Server shutting down"),
        (b"", ConnectionProblem.CLOSED, "the broker closed it"),
        (packet(AUTH << 4, b""), ConnectionProblem.PROTOCOL_ERROR, "a packet of type 15"),
        (b"\x30\xff\xff\xff\xff\x7f", ConnectionProblem.PROTOCOL_ERROR, "more than four bytes"),
    ],
)
def test_backoff_grows_while_connections_end_right_after_they_were_accepted(
    reply: bytes, problem: ConnectionProblem, words: str
) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send(reply)

    async def scenario(_: ScriptedBroker, client: MqttClient) -> None:
        await eventually(lambda: len(client.waits) >= 3)
        first, second, third = client.waits[:3]
        assert (second, third) == ((1.5, 4.5) if first == 0.5 else (180, 300))
        assert client.events[0].problem is problem
        assert {event.problem for event in client.events} <= {problem, ConnectionProblem.UNSTABLE}
        assert words in client.events[0].message

    run(scenario, script)


def test_a_broker_that_closes_connections_right_after_it_accepted_them_is_reported_with_a_hint() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()

    async def scenario(_: ScriptedBroker, client: MqttClient) -> None:
        await eventually(lambda: len(client.waits) >= 5)
        assert [event.problem for event in client.events] == [ConnectionProblem.CLOSED, ConnectionProblem.UNSTABLE]
        assert "does another client use the client identifier 'device'?" in client.events[1].message

    run(scenario, script)


def test_a_client_whose_session_is_taken_over_waits_for_minutes() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send(disconnect(0x8E))

    async def scenario(_: ScriptedBroker, client: MqttClient) -> None:
        await eventually(lambda: len(client.waits) >= 3)
        assert client.waits[:3] == [60, 180, 300]

    run(scenario, script)


def test_a_reset_connection_is_opened_again() -> None:
    async def resetting(peer: Peer) -> None:
        await peer.accept()
        peer.reset()

    async def scenario(broker: ScriptedBroker, client: MqttClient) -> None:
        await eventually(lambda: len(client.sessions) == 2)
        assert len(broker.peers) == 2

    run(scenario, resetting, obliging)


def test_a_half_open_connection_is_given_up_after_two_keep_alives() -> None:
    async def dead(peer: Peer) -> None:
        await peer.accept()
        await asyncio.sleep(30)

    async def scenario(broker: ScriptedBroker, client: MqttClient) -> None:
        await eventually(lambda: len(broker.peers) == 2)
        assert client.events[0].problem is ConnectionProblem.NO_ANSWER
        assert "no answer to a ping within 1 s" in client.events[0].message

    run(scenario, dead, obliging, keepalive_s=1)


def test_the_brokers_keep_alive_replaces_the_clients() -> None:
    async def scenario(broker: ScriptedBroker, client: MqttClient) -> None:
        await eventually(lambda: [one.kind for one in broker.peers[0].received[1:]] == [12] if broker.peers else False)
        assert client.connection.broker is not None
        assert client.connection.broker.server_keepalive_s == 1

    run(scenario, accepting(b"\x13\x00\x01"), keepalive_s=60)


# Limits of the broker


def test_no_more_is_sent_than_the_brokers_receive_maximum() -> None:
    open_ids: list[int] = []

    async def narrow(peer: Peer) -> None:
        await peer.accept(b"\x21\x00\x01")
        while True:
            received = await peer.expect(PUBLISH)
            open_ids.append(received.packet_id)
            await asyncio.sleep(0.02)
            assert len(open_ids) == 1
            await peer.send(puback(open_ids.pop()))

    async def scenario(broker: ScriptedBroker, client: MqttClient) -> None:
        for number in range(6):
            client.publish(str(number))
        await eventually(lambda: len(client.outcomes) == 6)
        assert published(broker.peers[0]) == [str(number) for number in range(6)]

    run(scenario, narrow)


def test_a_broker_of_qos_0_gets_publications_of_qos_0_and_the_person_is_told_once() -> None:
    async def scenario(broker: ScriptedBroker, client: MqttClient) -> None:
        client.publish("a")
        await eventually(lambda: published(broker.peers[0]) == ["a"] if broker.peers else False)
        assert broker.peers[0].received[-1].qos == 0
        assert client.outcomes == {"a": PublishOutcome.ACKNOWLEDGED}
        assert [event.problem for event in client.events] == [ConnectionProblem.UNSUPPORTED]
        assert "QoS 0" in client.connection.status.explanation
        assert client.connection.pending_bytes == 0

    run(scenario, accepting(b"\x24\x00"))


def test_a_broker_without_retained_messages_gets_publications_without_the_flag_and_the_person_is_told_once() -> None:
    async def scenario(broker: ScriptedBroker, client: MqttClient) -> None:
        client.publish("a", retain=True)
        client.publish("b", retain=True)
        await eventually(lambda: len(client.outcomes) == 2)
        assert not any(one.retain for one in broker.peers[0].received)
        assert [event.problem for event in client.events] == [ConnectionProblem.UNSUPPORTED]

    run(scenario, accepting(b"\x25\x00"))


@pytest.mark.parametrize(("reason", "flags"), [(0x9B, 0x24), (0x9A, 0x0C)])
def test_the_will_loses_the_feature_that_the_broker_refuses(reason: int, flags: int) -> None:
    async def scenario(broker: ScriptedBroker, client: MqttClient) -> None:
        await eventually(lambda: client.connection.connected)
        first, second = (peer.received[0].body[7] for peer in broker.peers)
        assert (first, second) == (0x2C, flags)

    will = Publication("status", b"offline", qos=1, retain=True)
    run(scenario, refusing(connack(reason)), obliging, will=will)


@pytest.mark.parametrize(("properties", "missing"), [(b"\x28\x00", "a/+"), (b"\x2a\x00", "$share/g/a")])
def test_filters_that_the_broker_does_not_support_are_reported_and_the_others_are_sent(
    properties: bytes, missing: str
) -> None:
    async def scenario(broker: ScriptedBroker, client: MqttClient) -> None:
        client.on_connected = lambda connection: connection.subscribe(missing, "plain")
        await eventually(lambda: any(one.kind == SUBSCRIBE for peer in broker.peers for one in peer.received))
        (sent,) = (one for one in broker.peers[0].received if one.kind == SUBSCRIBE)
        assert [topic_filter for topic_filter, _ in sent.filters] == ["plain"]
        assert client.connection.status.problem is ConnectionProblem.SUBSCRIPTION_REFUSED
        assert missing in client.connection.status.explanation
        assert client.connection.connected

    run(scenario, accepting(properties))


def test_a_subscription_that_the_broker_refuses_is_reported() -> None:
    async def strict(peer: Peer) -> None:
        await peer.accept()
        received = await peer.expect(SUBSCRIBE)
        await peer.send(suback(received.packet_id, b"\x87\x01"))
        await peer.closed()

    async def scenario(_: ScriptedBroker, client: MqttClient) -> None:
        client.on_connected = lambda connection: connection.subscribe("secret", "public")
        await eventually(lambda: client.events)
        assert client.events[0].problem is ConnectionProblem.SUBSCRIPTION_REFUSED
        assert "secret: Not authorized" in client.events[0].message

    run(scenario, strict)


# Bounds in bytes


def test_a_broker_that_does_not_read_is_not_read_and_what_is_pending_is_bounded() -> None:
    limit = 100_000

    async def scenario(broker: ScriptedBroker, client: MqttClient) -> None:
        await eventually(lambda: client.connection.connected)
        for number in range(2000):
            client.publish(f"q0/{number}", bytes(10_000), qos=0)
            await asyncio.sleep(0)
        dropped = [topic for topic, outcome in client.outcomes.items() if outcome is PublishOutcome.DROPPED]
        assert dropped
        assert client.connection.pending_bytes <= limit + 10_100
        for number in range(100):
            client.publish(f"q1/{number}", bytes(10_000))
        assert client.connection.pending_bytes <= 2 * limit + 10_100
        assert "bytes are unsent or unacknowledged" in client.reasons[dropped[0]]
        # While it does not read, it is not read either.
        await broker.peers[0].send(publish("unread"))
        await asyncio.sleep(0.05)
        assert client.messages == []

    async def deaf(peer: Peer) -> None:
        await peer.accept()
        await asyncio.sleep(30)

    run(scenario, deaf, max_pending_bytes=limit)


def test_a_broker_that_reads_again_is_read_again() -> None:
    wake = asyncio.Event()

    async def pausing(peer: Peer) -> None:
        await peer.accept()
        await asyncio.sleep(0.02)
        await peer.send(publish("late"))
        await wake.wait()
        await peer.serve()

    async def scenario(_: ScriptedBroker, client: MqttClient) -> None:
        client.on_connected = lambda _: [client.publish(f"{number}", bytes(500_000), qos=0) for number in range(20)]
        await eventually(lambda: client.connection.connected)
        await asyncio.sleep(0.05)
        assert client.messages == []
        wake.set()
        await eventually(lambda: client.messages and not client.connection.pending_bytes)

    run(scenario, pausing, max_pending_bytes=8_000_000)


def test_a_broker_that_never_acknowledges_costs_a_bounded_number_of_bytes() -> None:
    async def scenario(_: ScriptedBroker, client: MqttClient) -> None:
        await eventually(lambda: client.connection.connected)
        for number in range(300):
            client.publish(str(number), bytes(1000))
            await asyncio.sleep(0)
        assert 20_000 < client.connection.pending_bytes <= 21_100
        assert client.outcomes["299"] is PublishOutcome.DROPPED

    async def reading(peer: Peer) -> None:
        await peer.accept()
        await peer.closed()

    run(scenario, reading, max_pending_bytes=10_000)


def test_what_is_published_while_corked_leaves_in_one_segment_with_the_acknowledgement() -> None:
    async def main() -> None:
        reads: list[bytes] = []

        async def raw(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(4096)
            writer.write(connack())
            reads.append(await reader.read(65_536))
            writer.close()

        server = await asyncio.start_server(raw, "127.0.0.1", 0)
        client = MqttClient()
        client.open(ConnectionOptions(host="127.0.0.1", port=server.sockets[0].getsockname()[1], client_id="device"))
        await client.connection.connect()
        with client.connection.corked():
            client.publish("reply", b"x")
            client.connection.acknowledge(4)
        await eventually(lambda: reads)
        assert reads[0].endswith(b"\x40\x02\x00\x04")
        assert reads[0][0] == 0x32
        await client.connection.disconnect()
        server.close()

    asyncio.run(main())
