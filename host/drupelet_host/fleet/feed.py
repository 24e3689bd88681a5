"""A broker's messages into a fleet: one connection, one lock, one clock."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar

from paho.mqtt.client import MQTTMessage

from drupelet_host.client.connection.address import BrokerAddress
from drupelet_host.client.connection.connection import Connection
from drupelet_host.fleet.state import Fleet
from drupelet_shared.contract.topics import DEFAULT_PREFIX, Announcement, FleetTopics

Result = TypeVar("Result")
Listener = Callable[[Announcement], None]


class FleetFeed:
    """A fleet that follows a broker, as a context manager; read it with `read`, which no message interrupts."""

    def __init__(
        self,
        broker: BrokerAddress,
        *,
        prefix: str = DEFAULT_PREFIX,
        connect_timeout_s: float = 10.0,
        on_change: Listener | None = None,
    ) -> None:
        self._topics = FleetTopics(prefix=prefix)
        self._connect_timeout_s = connect_timeout_s
        self._on_change = on_change
        self._lock = threading.Lock()
        self._fleet = Fleet(self._topics)
        self._connection = Connection(broker, on_message=self._received, keeps_session=False)

    def __enter__(self) -> Self:
        """Connect and subscribe; retained messages come from now on.

        Raises:
            BrokerError: The broker cannot be reached or refuses.
        """
        first, *others = self._topics.filters
        self._connection.open(first, timeout_s=self._connect_timeout_s)
        for topic in others:
            self._connection.subscribe(topic)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Disconnect."""
        self._connection.close()

    @property
    def is_connected(self) -> bool:
        """Whether the broker is there now; the connection comes back by itself."""
        return self._connection.is_connected

    def read(self, view: Callable[[Fleet, float], Result]) -> Result:
        """What `view` makes of the fleet as of now, by the fleet's clock in seconds."""
        with self._lock:
            return view(self._fleet, time.monotonic())

    def _received(self, message: MQTTMessage) -> None:
        with self._lock:
            found = self._fleet.receive(message.topic, bytes(message.payload), at_s=time.monotonic())
        if found is not None and self._on_change is not None:
            self._on_change(found)
