"""The agent's MQTT client against mosquitto: what ends connections, what is refused, what is taken over."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from drupelet_agent.mqtt.outcome import PublishOutcome
from drupelet_agent.mqtt.status import ConnectionProblem
from support.broker.brokers import find_mosquitto, mosquitto_broker
from support.broker.mqtt_clients import eventually, mqtt_client

pytestmark = [
    pytest.mark.mosquitto,
    pytest.mark.skipif(find_mosquitto() is None, reason="mosquitto is not installed"),
]
# mosquitto disconnects a client that publishes on a topic of more than 200 levels.
POISON = "a/" * 250 + "b"


def test_a_topic_on_which_mosquitto_disconnects_costs_three_connections_and_nothing_else(tmp_path: Path) -> None:
    async def main(port: int) -> None:
        async with mqtt_client(port) as client:
            client.on_connected = lambda connection: connection.subscribe("in")
            for topic in ("before", POISON, "after"):
                client.publish(topic)
            await eventually(lambda: len(client.outcomes) == 3)
            assert client.outcomes[POISON] is PublishOutcome.DROPPED
            assert client.outcomes["before"] is client.outcomes["after"] is PublishOutcome.ACKNOWLEDGED
            assert len(client.sessions) == 4
            client.publish("in", b"still there")
            await eventually(lambda: [message.payload for message in client.messages] == [b"still there"])

    with mosquitto_broker(tmp_path) as broker:
        asyncio.run(main(broker.port))


@pytest.mark.parametrize("setting", ["max_packet_size 300", "message_size_limit 300"])
def test_a_publication_that_mosquitto_does_not_accept_for_its_size_has_that_outcome(
    tmp_path: Path, setting: str
) -> None:
    async def main(port: int) -> None:
        async with mqtt_client(port) as client:
            client.publish("large", bytes(400))
            client.publish("small", bytes(100))
            await eventually(lambda: len(client.outcomes) == 2)
            assert client.outcomes["large"] in {PublishOutcome.TOO_LARGE, PublishOutcome.REJECTED}
            assert client.outcomes["small"] is PublishOutcome.ACKNOWLEDGED
            assert len(client.sessions) == 1

    with mosquitto_broker(tmp_path, settings=[setting]) as broker:
        asyncio.run(main(broker.port))


def test_an_account_that_mosquitto_does_not_know_is_reported_once(tmp_path: Path) -> None:
    async def main(port: int) -> None:
        async with mqtt_client(port, username="pi", password=b"wrong") as client:
            await eventually(lambda: len(client.waits) >= 7)
            assert client.waits[6] == 300
            assert [event.problem for event in client.events] == [ConnectionProblem.ACCOUNT_REFUSED]

    with mosquitto_broker(tmp_path, settings=["allow_anonymous false"]) as broker:
        asyncio.run(main(broker.port))


def test_two_clients_with_one_identifier_are_told_what_may_be_the_reason(tmp_path: Path) -> None:
    async def main(port: int) -> None:
        async with mqtt_client(port, client_id="twin") as one, mqtt_client(port, client_id="twin") as other:
            await eventually(lambda: one.waits[3:] and other.waits[3:])
            messages = [event.message for client in (one, other) for event in client.events]
            assert sum("use the client identifier 'twin'?" in message for message in messages) == 2

    with mosquitto_broker(tmp_path) as broker:
        asyncio.run(main(broker.port))
