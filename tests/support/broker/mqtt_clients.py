"""The agent's MQTT client in a test: what it was told is written down, and it connects again without waiting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from drupelet_agent.mqtt.connection import BrokerConnection
from drupelet_agent.mqtt.link.backoff import Backoff
from drupelet_agent.mqtt.message import Message, Publication
from drupelet_agent.mqtt.options import ConnectionOptions
from drupelet_agent.mqtt.outcome import PublishOutcome
from drupelet_agent.mqtt.status import ConnectionEvent

_POLL_S = 0.005
_PATIENCE_S = 10.0


@dataclass
class MqttClient:
    """A client and what it was told.

    Attributes:
        messages: The messages, in order.
        events: The events, in order.
        outcomes: The outcome of each publication by its topic.
        reasons: The reason of each outcome by the publication's topic.
        sessions: For each connect, whether the broker had the session.
        waits: The longest wait before each attempt to connect again, in seconds.
        on_connected: Called at each connect.
    """

    messages: list[Message] = field(default_factory=list)
    events: list[ConnectionEvent] = field(default_factory=list)
    outcomes: dict[str, PublishOutcome] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    sessions: list[bool] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    on_connected: Callable[[BrokerConnection], None] = lambda _: None

    def open(self, options: ConnectionOptions) -> BrokerConnection:
        """Make the connection, which does not connect yet."""
        self.connection = BrokerConnection(
            options,
            on_connected=self._connected,
            on_message=self.messages.append,
            on_event=self.events.append,
            backoff=Backoff(uniform=self._draw),
        )
        return self.connection

    def publish(
        self, topic: str, payload: bytes = b"", *, qos: int = 1, retain: bool = False, properties: bytes = b""
    ) -> None:
        """Publish, and write the outcome down under the topic.

        Args:
            topic: The topic.
            payload: The payload.
            qos: 0 or 1.
            retain: Whether the broker keeps it.
            properties: Encoded properties.
        """

        def on_outcome(outcome: PublishOutcome, reason: str) -> None:
            assert topic not in self.outcomes, "two outcomes for one publication"
            self.outcomes[topic], self.reasons[topic] = outcome, reason

        publication = Publication(topic, payload, qos=qos, retain=retain, properties=properties)
        self.connection.publish(publication, on_outcome=on_outcome)

    def _connected(self, *, session_present: bool) -> None:
        self.sessions.append(session_present)
        self.on_connected(self.connection)

    def _draw(self, _: float, longest_s: float) -> float:
        self.waits.append(longest_s)
        return 0.0


@asynccontextmanager
async def mqtt_client(port: int, **options: object) -> AsyncIterator[MqttClient]:
    """Run a client against the broker on a loopback port until the block ends; then it disconnects.

    Args:
        port: The broker's port.
        options: Options of the connection besides its address.
    """
    client = MqttClient()
    arguments: dict[str, object] = {"client_id": "device", **options}
    connection = client.open(ConnectionOptions(host="127.0.0.1", port=port, **arguments))  # type: ignore[arg-type]
    task = asyncio.create_task(connection.run())
    try:
        async with asyncio.timeout(20):
            yield client
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await connection.disconnect()


async def eventually(condition: Callable[[], object]) -> None:
    """Wait until a condition holds.

    Raises:
        AssertionError: It does not hold within ten seconds.
    """
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + _PATIENCE_S
    while not condition():
        assert loop.time() < deadline_s, "the condition does not hold in time"
        await asyncio.sleep(_POLL_S)
