"""A scenario with a client of a scripted broker, and the scripts that most scenarios need."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from fakes.scripted_broker import CONNECT, PUBLISH, Packet, Peer, Script, ScriptedBroker
from support.broker.mqtt_clients import MqttClient, mqtt_client

Scenario = Callable[[ScriptedBroker, MqttClient], Awaitable[None]]


def run_scenario(scenario: Scenario, *scripts: Script, **options: object) -> None:
    """Run a scenario with a client of a scripted broker.

    Args:
        scenario: What happens, and what must hold.
        scripts: What the broker does on each connection.
        options: Options of the client's connection besides the address.
    """

    async def main() -> None:
        async with ScriptedBroker(*scripts) as broker, mqtt_client(broker.port, **options) as client:
            await scenario(broker, client)

    asyncio.run(main())


async def obliging(peer: Peer) -> None:
    """Accept, and answer everything."""
    await peer.accept()
    await peer.serve()


def accepting(properties: bytes) -> Script:
    """Make a script that accepts with these properties in the CONNACK, and answers everything."""

    async def script(peer: Peer) -> None:
        await peer.accept(properties)
        await peer.serve()

    return script


def refusing(reply: bytes) -> Script:
    """Make a script that answers the CONNECT with this packet."""

    async def script(peer: Peer) -> None:
        await peer.expect(CONNECT)
        await peer.send(reply)
        await peer.closed()

    return script


def sent(broker: ScriptedBroker, connection: int, kind: int = PUBLISH) -> list[Packet]:
    """Return the packets of a type that were sent on a connection; none where there is no such connection yet."""
    if len(broker.peers) <= connection:
        return []
    return [one for one in broker.peers[connection].received if one.kind == kind]


def published(peer: Peer) -> list[str]:
    """Return the topics of the publications on a connection, in order."""
    return [one.topic for one in peer.received if one.kind == PUBLISH]
