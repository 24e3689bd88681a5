"""What becomes of publications: outcomes, resends, and those that end the connection."""

from __future__ import annotations

import asyncio

import pytest

from drupelet_agent.mqtt.message import Publication
from drupelet_agent.mqtt.options import ConnectionOptions
from drupelet_agent.mqtt.outcome import PublishOutcome
from drupelet_agent.mqtt.status import ConnectionProblem
from fakes.scripted_broker import (
    PUBLISH,
    Peer,
    Script,
    ScriptedBroker,
    disconnect,
    puback,
)
from support.broker.mqtt_clients import MqttClient, eventually
from support.broker.scenarios import accepting, obliging, published, run_scenario

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

    run_scenario(scenario, slow)


def test_a_publication_of_qos_0_is_acknowledged_when_it_is_handed_to_the_socket() -> None:
    async def scenario(_: ScriptedBroker, client: MqttClient) -> None:
        await eventually(lambda: client.connection.connected)
        client.publish("a", qos=0)
        assert client.outcomes == {"a": PublishOutcome.ACKNOWLEDGED}

    run_scenario(scenario, obliging)


def test_a_publication_of_qos_0_without_a_connection_is_dropped() -> None:
    client = MqttClient()
    client.open(ConnectionOptions(host="127.0.0.1", port=1, client_id="device"))
    client.publish("a", qos=0)
    assert client.outcomes == {"a": PublishOutcome.UNSENT}


def test_a_publication_that_the_broker_rejects_says_why() -> None:
    async def rejecting(peer: Peer) -> None:
        await peer.accept()
        await peer.serve(puback_reason=0x87)

    async def scenario(_: ScriptedBroker, client: MqttClient) -> None:
        client.publish("a")
        await eventually(lambda: client.outcomes)
        assert client.outcomes == {"a": PublishOutcome.REJECTED}
        assert "Not authorized" in client.reasons["a"]

    run_scenario(scenario, rejecting)


def test_a_reason_below_0x80_in_a_puback_is_a_success() -> None:
    async def without_subscribers(peer: Peer) -> None:
        await peer.accept()
        await peer.serve(puback_reason=0x10)

    async def scenario(_: ScriptedBroker, client: MqttClient) -> None:
        client.publish("a")
        await eventually(lambda: client.outcomes == {"a": PublishOutcome.ACKNOWLEDGED})

    run_scenario(scenario, without_subscribers)


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

    run_scenario(scenario, accepting(b"\x27" + (300).to_bytes(4, "big")))


def test_a_publication_that_waited_is_measured_when_the_limit_is_known() -> None:
    async def scenario(_: ScriptedBroker, client: MqttClient) -> None:
        client.publish("x", bytes(400))
        await eventually(lambda: client.outcomes == {"x": PublishOutcome.TOO_LARGE})

    run_scenario(scenario, accepting(b"\x27" + (300).to_bytes(4, "big")))


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

    run_scenario(scenario, obliging)


def test_what_is_not_acknowledged_when_the_session_ends_is_dropped() -> None:
    async def silent(peer: Peer) -> None:
        await peer.accept()
        await peer.closed()

    client_after: list[MqttClient] = []

    async def scenario(broker: ScriptedBroker, client: MqttClient) -> None:
        client.publish("a")
        await eventually(lambda: broker.peers and published(broker.peers[0]) == ["a"])
        client_after.append(client)

    run_scenario(scenario, silent)
    assert client_after[0].outcomes == {"a": PublishOutcome.UNSENT}
    assert client_after[0].connection.pending_count == 0


def test_an_exception_in_an_outcome_callback_leaves_the_connection_as_it_is() -> None:
    async def scenario(broker: ScriptedBroker, client: MqttClient) -> None:
        def explode(_: PublishOutcome, __: str) -> None:
            raise ValueError

        client.connection.publish(Publication("a", b""), on_outcome=explode)
        client.publish("b")
        await eventually(lambda: client.outcomes == {"b": PublishOutcome.ACKNOWLEDGED})
        assert len(broker.peers) == 1

    run_scenario(scenario, obliging)


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

    run_scenario(scenario, hanging_up_on("poison", reply))


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

    run_scenario(scenario, script)


@pytest.mark.parametrize("reason", [0x8B, 0x8E, 0x98, 0x9D])
def test_a_publication_is_not_blamed_when_the_broker_names_another_reason(reason: int) -> None:
    async def scenario(broker: ScriptedBroker, client: MqttClient) -> None:
        client.publish("a")
        await eventually(lambda: len(broker.peers) >= 5)
        assert client.outcomes == {}

    run_scenario(scenario, hanging_up_on("a", disconnect(reason)))


def test_an_innocent_publication_survives_two_lost_connections() -> None:
    async def scenario(broker: ScriptedBroker, client: MqttClient) -> None:
        client.publish("a")
        await eventually(lambda: client.outcomes == {"a": PublishOutcome.ACKNOWLEDGED})
        assert len(broker.peers) == 3

    run_scenario(scenario, hanging_up_on("a"), hanging_up_on("a"), obliging)


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

    run_scenario(scenario, deaf, takes_one, obliging)
