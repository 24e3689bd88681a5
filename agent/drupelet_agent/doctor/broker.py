"""Examines the broker: whether it accepts the agent, and the round trip of a small message."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import statistics
import time
from collections.abc import Iterator
from dataclasses import replace

from drupelet_agent.config.agent import AgentConfig
from drupelet_agent.config.broker import BrokerConfig
from drupelet_agent.doctor.broker_repairs import repair_of
from drupelet_agent.doctor.findings import Finding
from drupelet_agent.messaging.broker import connection_options
from drupelet_agent.mqtt.connection import BrokerConnection
from drupelet_agent.mqtt.errors import MqttError
from drupelet_agent.mqtt.link.dialling import Dialler, OpenSocket
from drupelet_agent.mqtt.message import Message, Publication
from drupelet_shared.contract.topics import DeviceTopics
from drupelet_shared.errors import DrupeletError

_PACKET_BYTES = 65_536
_PAIRS = 15
_RECEIVE_MAXIMUM = 16
_PATIENCE_S = 2.0
# Nagle's algorithm against delayed acknowledgements costs 40 ms on Linux; less than this is the network's own.
_SLOW_MS = 30.0


def examine_broker(config: AgentConfig) -> Iterator[Finding]:
    """Connect as the agent does, and measure."""
    broker = config.broker
    if broker.tls is None and broker.username is not None and not _is_loopback(broker.host):
        yield Finding("password", "warn", f"crosses the network to {broker.host} in clear text", "set [broker.tls]")
    try:
        echo_ms = asyncio.run(_measure_echo(config))
    except (DrupeletError, MqttError) as error:
        yield Finding("broker", "fail", str(error), repair_of(error))
        return
    yield Finding("broker", "ok", f"{broker.host}:{broker.port} accepts an MQTT 5 session")
    yield _judge_echo(echo_ms, connect_ms=_connect_ms(broker))


def _judge_echo(echo_ms: float | None, *, connect_ms: float) -> Finding:
    if echo_ms is None:
        repair = "allow this account to read and write the topic <prefix>/<device>/echo, if it is to be measured"
        return Finding("round trip", "note", "the broker does not return what it is sent", repair)
    # Rounded first, so that the parts that are printed add up.
    whole_ms, network_ms = round(echo_ms, 1), round(min(echo_ms, connect_ms), 1)
    parts = f"{network_ms:.1f} ms the network and {whole_ms - network_ms:.1f} ms the broker and this device"
    state = f"{whole_ms:.1f} ms for two small messages to the broker and back: {parts}"
    if echo_ms - connect_ms > _SLOW_MS:
        repair = "set TCP_NODELAY in the broker; mosquitto: set_tcp_nodelay true"
        return Finding("round trip", "warn", state, repair)
    return Finding("round trip", "ok", state)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _connect_ms(config: BrokerConfig) -> float:
    """Return the round trip of the network in milliseconds."""
    start = time.perf_counter()
    try:
        socket.create_connection((config.host, config.port), timeout=_PATIENCE_S).close()
    except OSError:
        return 0.0
    return (time.perf_counter() - start) * 1e3


async def _measure_echo(config: AgentConfig) -> float | None:
    """Return the median round trip of two small messages in milliseconds; None if the broker does not return them.

    Raises:
        DrupeletError: The broker is not there, does not answer or refuses.
    """
    topic = DeviceTopics(config.device, prefix=config.broker.prefix).echo
    arrived: asyncio.Queue[Message] = asyncio.Queue()
    # The broker keeps nothing of this session.
    options = connection_options(
        config.broker,
        client_id=f"{config.client_id}-doctor",
        receive_maximum=_RECEIVE_MAXIMUM,
        max_packet_bytes=_PACKET_BYTES,
        session_expiry_s=0,
    )
    connection = BrokerConnection(
        options,
        on_connected=_announce_nothing,
        on_message=arrived.put_nowait,
        dialler=_OrdinaryDialler(Dialler(options.host, options.port, tls=options.tls)),
    )
    try:
        await connection.connect()
        connection.subscribe(topic)
        return await _echo(connection, topic, arrived)
    finally:
        await connection.disconnect()


class _OrdinaryDialler:
    """Opens sockets that delay acknowledgements, as those of other clients do.

    The agent's own acknowledge at once, which hides that a broker holds small messages back from everybody else.
    """

    def __init__(self, dialler: Dialler) -> None:
        self._dialler = dialler

    async def dial(self) -> OpenSocket:
        """Open a socket to the broker."""
        return replace(await self._dialler.dial(), quick_acknowledgements=False)


async def _echo(connection: BrokerConnection, topic: str, arrived: asyncio.Queue[Message]) -> float | None:
    """Send pairs, and acknowledge none before both are back: a broker without TCP_NODELAY holds the second one."""
    taken_ms = []
    for _ in range(_PAIRS):
        start = time.perf_counter()
        for _ in range(2):
            connection.publish(Publication(topic, b"echo"))
        try:
            pair = [await asyncio.wait_for(arrived.get(), _PATIENCE_S) for _ in range(2)]
        except TimeoutError:
            return None
        taken_ms.append((time.perf_counter() - start) * 1e3)
        for message in pair:
            connection.acknowledge(message.mid)
    # The kernel acknowledges the first packets of a connection at once.
    return statistics.median(taken_ms[_PAIRS // 3 :])


def _announce_nothing(*, session_present: bool) -> None:
    """Report nothing."""
