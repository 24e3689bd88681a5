"""What a broker does not offer or does not take, and the bounds in bytes."""

from __future__ import annotations

import asyncio

import pytest

from drupelet_agent.mqtt.message import Publication
from drupelet_agent.mqtt.options import ConnectionOptions
from drupelet_agent.mqtt.outcome import PublishOutcome
from drupelet_agent.mqtt.status import ConnectionProblem
from fakes.scripted_broker import (
    PUBLISH,
    SUBSCRIBE,
    Peer,
    ScriptedBroker,
    connack,
    puback,
    publish,
    suback,
)
from support.broker.mqtt_clients import MqttClient, eventually
from support.broker.scenarios import accepting, obliging, published, refusing, run_scenario

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

    run_scenario(scenario, narrow)


def test_a_broker_of_qos_0_gets_publications_of_qos_0_and_the_person_is_told_once() -> None:
    async def scenario(broker: ScriptedBroker, client: MqttClient) -> None:
        client.publish("a")
        await eventually(lambda: published(broker.peers[0]) == ["a"] if broker.peers else False)
        assert broker.peers[0].received[-1].qos == 0
        assert client.outcomes == {"a": PublishOutcome.ACKNOWLEDGED}
        assert [event.problem for event in client.events] == [ConnectionProblem.UNSUPPORTED]
        assert "QoS 0" in client.connection.status.explanation
        assert client.connection.pending_bytes == 0

    run_scenario(scenario, accepting(b"\x24\x00"))


def test_a_broker_without_retained_messages_gets_publications_without_the_flag_and_the_person_is_told_once() -> None:
    async def scenario(broker: ScriptedBroker, client: MqttClient) -> None:
        client.publish("a", retain=True)
        client.publish("b", retain=True)
        await eventually(lambda: len(client.outcomes) == 2)
        assert not any(one.retain for one in broker.peers[0].received)
        assert [event.problem for event in client.events] == [ConnectionProblem.UNSUPPORTED]

    run_scenario(scenario, accepting(b"\x25\x00"))


@pytest.mark.parametrize(("reason", "flags"), [(0x9B, 0x24), (0x9A, 0x0C)])
def test_the_will_loses_the_feature_that_the_broker_refuses(reason: int, flags: int) -> None:
    async def scenario(broker: ScriptedBroker, client: MqttClient) -> None:
        await eventually(lambda: client.connection.connected)
        first, second = (peer.received[0].body[7] for peer in broker.peers)
        assert (first, second) == (0x2C, flags)

    will = Publication("status", b"offline", qos=1, retain=True)
    run_scenario(scenario, refusing(connack(reason)), obliging, will=will)


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

    run_scenario(scenario, accepting(properties))


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

    run_scenario(scenario, strict)


# Bounds in bytes


def test_a_broker_that_does_not_read_is_not_read_and_what_is_pending_is_bounded() -> None:
    limit = 100_000

    async def scenario(broker: ScriptedBroker, client: MqttClient) -> None:
        await eventually(lambda: client.connection.connected)
        for number in range(2000):
            client.publish(f"q0/{number}", bytes(10_000), qos=0)
            await asyncio.sleep(0)
        dropped = [topic for topic, outcome in client.outcomes.items() if outcome is PublishOutcome.NO_ROOM]
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

    run_scenario(scenario, deaf, max_pending_bytes=limit)


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

    run_scenario(scenario, pausing, max_pending_bytes=8_000_000)


def test_a_broker_that_never_acknowledges_costs_a_bounded_number_of_bytes() -> None:
    async def scenario(_: ScriptedBroker, client: MqttClient) -> None:
        await eventually(lambda: client.connection.connected)
        for number in range(300):
            client.publish(str(number), bytes(1000))
            await asyncio.sleep(0)
        assert 20_000 < client.connection.pending_bytes <= 21_100
        assert client.outcomes["299"] is PublishOutcome.NO_ROOM

    async def reading(peer: Peer) -> None:
        await peer.accept()
        await peer.closed()

    run_scenario(scenario, reading, max_pending_bytes=10_000)


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
