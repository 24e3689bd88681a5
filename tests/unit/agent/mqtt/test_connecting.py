"""How connections begin and end: acceptance, refusals, backoff, events."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from drupelet_agent.mqtt.connection import BrokerConnection
from drupelet_agent.mqtt.errors import ConnectFailedError
from drupelet_agent.mqtt.options import ConnectionOptions
from drupelet_agent.mqtt.outcome import PublishOutcome
from drupelet_agent.mqtt.status import ConnectionProblem
from fakes.scripted_broker import (
    AUTH,
    CONNECT,
    DISCONNECT,
    PUBACK,
    SUBSCRIBE,
    Peer,
    ScriptedBroker,
    connack,
    connack_311,
    disconnect,
    packet,
    publish,
    text,
)
from support.broker.mqtt_clients import MqttClient, eventually, mqtt_client
from support.broker.scenarios import accepting, obliging, refusing, run_scenario

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

    run_scenario(scenario, obliging)


def test_a_filter_that_cannot_be_encoded_ends_the_connection_that_is_being_accepted() -> None:
    async def scenario(broker: ScriptedBroker, client: MqttClient) -> None:
        client.on_connected = lambda connection: connection.subscribe("€" * 30_000)
        await eventually(lambda: len(broker.peers) >= 3)
        assert client.connection.status.problem is ConnectionProblem.INTERNAL
        # A failed attempt waits longer and longer.
        assert client.waits[:2] == [0.5, 1.5]

    run_scenario(scenario, obliging)


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

    run_scenario(scenario, eager)


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

    run_scenario(scenario, trickling)


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

    run_scenario(scenario, refusing(reply))


def test_connect_raises_the_refusal() -> None:
    async def main() -> None:
        async with ScriptedBroker(refusing(connack(0x87))) as broker:
            client = MqttClient()
            client.open(ConnectionOptions(host="127.0.0.1", port=broker.port, client_id="device"))
            with pytest.raises(ConnectFailedError, match="refuses the connection: Not authorized") as raised:
                await client.connection.connect()
            assert raised.value.problem is ConnectionProblem.ACCOUNT_REFUSED

    asyncio.run(main())


def ignore_connect(*, session_present: bool) -> None:
    """Nothing is subscribed here."""


def test_a_broker_that_accepts_the_socket_and_sends_no_connack_is_given_up() -> None:
    ended = asyncio.Event()

    async def silent(peer: Peer) -> None:
        await peer.closed()
        ended.set()

    async def main() -> None:
        async with ScriptedBroker(silent) as broker:
            connection = BrokerConnection(
                ConnectionOptions(host="127.0.0.1", port=broker.port, client_id="device"),
                on_connected=ignore_connect,
                on_message=print,
                connack_timeout_s=0.05,
            )
            with pytest.raises(ConnectFailedError, match=r"no answer within 0\.05 s") as raised:
                await connection.connect()
            assert raised.value.problem is ConnectionProblem.NO_ANSWER
            await asyncio.wait_for(ended.wait(), 5)

    asyncio.run(main())


def test_the_end_that_was_asked_for_is_no_problem() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.expect(DISCONNECT)

    async def scenario(_: ScriptedBroker, client: MqttClient) -> None:
        await eventually(lambda: client.connection.connected)
        await client.connection.disconnect()
        assert client.events == []
        assert client.connection.status.problem is None

    run_scenario(scenario, script)


def test_a_refused_account_is_tried_again_after_minutes_in_the_end_and_reported_once() -> None:
    async def scenario(_: ScriptedBroker, client: MqttClient) -> None:
        await eventually(lambda: len(client.waits) >= 8)
        assert client.waits[:8] == [0.5, 1.5, 4.5, 13.5, 40.5, 121.5, 300, 300]
        assert len(client.events) == 1

    run_scenario(scenario, refusing(connack(0x86)))


def test_a_broker_that_is_not_there_is_reported_once() -> None:
    async def main() -> None:
        async with mqtt_client(1) as client:
            await eventually(lambda: len(client.waits) >= 6)
            assert client.waits[:6] == [0.5, 1.5, 4.5, 4.5, 4.5, 4.5]
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
        assert (second, third) == ((1.5, 4.5) if first == 0.5 else (9, 20))
        assert client.events[0].problem is problem
        assert {event.problem for event in client.events} <= {problem, ConnectionProblem.UNSTABLE}
        assert words in client.events[0].message

    run_scenario(scenario, script)


def test_a_broker_that_closes_connections_right_after_it_accepted_them_is_reported_with_a_hint() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()

    async def scenario(_: ScriptedBroker, client: MqttClient) -> None:
        await eventually(lambda: len(client.waits) >= 5)
        assert [event.problem for event in client.events] == [ConnectionProblem.CLOSED, ConnectionProblem.UNSTABLE]
        assert "does another client use the client identifier 'device'?" in client.events[1].message

    run_scenario(scenario, script)


def test_a_client_whose_session_is_taken_over_waits_for_seconds() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send(disconnect(0x8E))

    async def scenario(_: ScriptedBroker, client: MqttClient) -> None:
        await eventually(lambda: len(client.waits) >= 3)
        assert client.waits[:3] == [3, 9, 20]

    run_scenario(scenario, script)


def test_a_reset_connection_is_opened_again() -> None:
    async def resetting(peer: Peer) -> None:
        await peer.accept()
        peer.reset()

    async def scenario(broker: ScriptedBroker, client: MqttClient) -> None:
        await eventually(lambda: len(client.sessions) == 2)
        assert len(broker.peers) == 2

    run_scenario(scenario, resetting, obliging)


def test_a_half_open_connection_is_given_up_after_two_keep_alives() -> None:
    async def dead(peer: Peer) -> None:
        await peer.accept()
        await asyncio.sleep(30)

    async def scenario(broker: ScriptedBroker, client: MqttClient) -> None:
        await eventually(lambda: len(broker.peers) == 2)
        assert client.events[0].problem is ConnectionProblem.NO_ANSWER
        assert "no answer to a ping within 1 s" in client.events[0].message

    run_scenario(scenario, dead, obliging, keepalive_s=1)


def test_the_brokers_keep_alive_replaces_the_clients() -> None:
    async def scenario(broker: ScriptedBroker, client: MqttClient) -> None:
        await eventually(lambda: [one.kind for one in broker.peers[0].received[1:]] == [12] if broker.peers else False)
        assert client.connection.broker is not None
        assert client.connection.broker.server_keepalive_s == 1

    run_scenario(scenario, accepting(b"\x13\x00\x01"), keepalive_s=60)
