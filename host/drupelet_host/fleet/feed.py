"""The fleet as a broker announces it: one connection, one lock, one clock."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar

from drupelet_host.client.connection.address import BrokerAddress
from drupelet_host.client.connection.connection import Connection
from drupelet_host.client.connection.link import DELAY_ADVICE, delays_small_messages
from drupelet_host.client.connection.retained import open_filters
from drupelet_host.client.connection.transport import ReceivedMessage, TransportFactory
from drupelet_host.fleet.state import Fleet
from drupelet_shared.contract.topics import DEFAULT_PREFIX, Announcement, FleetTopics

Result = TypeVar("Result")
Listener = Callable[[Announcement], None]


class FleetFeed:
    """A fleet that follows a broker's messages, as a context manager; `read` sees a consistent fleet."""

    def __init__(
        self,
        broker: BrokerAddress,
        *,
        prefix: str = DEFAULT_PREFIX,
        connect_timeout_s: float = 10.0,
        on_change: Listener | None = None,
        transport_factory: TransportFactory = Connection,
    ) -> None:
        """Make a feed that is not connected yet.

        Args:
            broker: The broker's address.
            prefix: The first levels of the topics.
            connect_timeout_s: The limit for connecting to the broker.
            on_change: Receives each announcement that changed the fleet, on the network thread.
            transport_factory: Makes the connection to the broker.
        """
        self._broker = broker
        self._prefix = prefix
        self._notice: str | None = None
        self._topics = FleetTopics(prefix=prefix)
        self._connect_timeout_s = connect_timeout_s
        self._on_change = on_change
        self._lock = threading.Lock()
        self._fleet = Fleet(self._topics)
        self._transport = transport_factory(broker, keeps_session=False)

    def __enter__(self) -> Self:
        """Connect and subscribe; retained messages arrive from now on.

        Raises:
            BrokerError: The broker cannot be reached or refuses the client.
        """
        filters = self._topics.filters
        open_filters(self._transport, filters, on_message=self._receive, timeout_s=self._connect_timeout_s)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Disconnect."""
        self._transport.close()

    @property
    def is_connected(self) -> bool:
        """Whether the connection stands now; a broken one is made again without a call."""
        return self._transport.is_connected

    @property
    def notice(self) -> str | None:
        """A fault of the broker that people should know of; None until one is found."""
        return self._notice

    def check_broker(self) -> str | None:
        """Check whether the broker holds small messages back, and return the notice about it; takes up to seconds."""
        if delays_small_messages(self._broker, prefix=self._prefix):
            self._notice = DELAY_ADVICE
        return self._notice

    def read(self, view: Callable[[Fleet, float], Result]) -> Result:
        """Return what `view` computes from the fleet and the current time of its clock, in seconds."""
        with self._lock:
            return view(self._fleet, time.monotonic())

    def _receive(self, message: ReceivedMessage) -> None:
        with self._lock:
            announcement = self._fleet.receive(message.topic, message.payload, at_s=time.monotonic())
        if announcement is not None and self._on_change is not None:
            self._on_change(announcement)
