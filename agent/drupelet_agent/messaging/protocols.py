"""The interfaces between the dispatcher, its handlers and the MQTT client."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from drupelet_agent.mqtt.limits import BrokerLimits
from drupelet_agent.mqtt.message import Message, Publication
from drupelet_agent.mqtt.outcome import OutcomeCallback
from drupelet_agent.mqtt.status import ConnectionStatus

Acknowledge = Callable[[], None]
"""Acknowledges one message to the broker; calling it again has no effect."""


class Publish(Protocol):
    """Sends a publication."""

    def __call__(self, publication: Publication, *, on_outcome: OutcomeCallback | None = None) -> None:
        """Send a publication, and pass its one outcome to `on_outcome`."""


class BrokerSession(Protocol):
    """One MQTT 5 session; `BrokerConnection` outside tests."""

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted the session and the connection stands."""

    @property
    def stalled(self) -> bool:
        """Whether the connection's own tasks no longer run."""

    @property
    def status(self) -> ConnectionStatus:
        """Whether it is connected, and if not, why not."""

    @property
    def broker(self) -> BrokerLimits | None:
        """The limits of the broker; None without a connection."""

    @property
    def pending_bytes(self) -> int:
        """Bytes of packets that are unsent, or that the broker has not acknowledged."""

    def publish(self, publication: Publication, *, on_outcome: OutcomeCallback | None = None) -> None:
        """Send a publication; one of QoS 1 waits for the connection where there is none."""

    def subscribe(self, *filters: str, retained: bool = False) -> None:
        """Subscribe with QoS 1; the broker sends retained messages at once only where `retained` is true."""

    def acknowledge(self, packet_id: int) -> None:
        """Acknowledge a QoS 1 message."""

    def corked(self) -> AbstractContextManager[None]:
        """Send what is published and acknowledged within the context at its end, in one segment."""

    async def run(self) -> None:
        """Stay connected until cancelled."""

    async def disconnect(self) -> None:
        """Send what waits, and disconnect without a will."""


class OnConnected(Protocol):
    """Called after each connect, before any message of the session is handled."""

    def __call__(self, *, session_present: bool) -> None:
        """Subscribe, and publish what must be known."""


class OpenSession(Protocol):
    """Creates an MQTT session; nothing is sent before it runs."""

    def __call__(self, *, on_connected: OnConnected, on_message: Callable[[Message], None]) -> BrokerSession:
        """Create a session that passes its connects and messages on."""


class MessageHandler(Protocol):
    """Handles the messages of some topics; each is acknowledged when `handle` returns."""

    @property
    def filters(self) -> tuple[str, ...]:
        """The topic filters whose messages it handles."""

    def handle(self, message: Message) -> None:
        """Handle one message."""


class DeferringHandler(Protocol):
    """Handles the messages of some topics, and acknowledges each when its work is done."""

    @property
    def filters(self) -> tuple[str, ...]:
        """The topic filters whose messages it handles."""

    def handle(self, message: Message, acknowledge: Acknowledge) -> None:
        """Start to handle one message; `acknowledge` is called once its sender no longer depends on this device."""
