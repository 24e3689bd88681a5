"""Publications of QoS 1 until the broker has acknowledged each (MQTT 5, sections 4.3.2, 4.4 and 4.9)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from drupelet_agent.mqtt.message import Publication

_LAST_PACKET_ID = 65_535


@dataclass(frozen=True, slots=True)
class Sending:
    """A publication that goes out now; `dup` says that it may have gone out before."""

    packet_id: int
    publication: Publication
    dup: bool = False


class Outgoing:
    """At most as many are out as the broker takes at once; the others wait in their order, and none is dropped."""

    def __init__(self) -> None:
        self._out: dict[int, Publication] = {}
        # Those that were out when the connection was lost keep their identifiers (section 4.4).
        self._again: dict[int, Publication] = {}
        self._again_is_dup = False
        self._waiting: deque[Publication] = deque()
        self._room = 0
        self._last_id = 0

    def take(self, publication: Publication) -> Iterator[Sending]:
        """Keep a publication until it is acknowledged; gives what may go out now."""
        self._waiting.append(publication)
        return self._next()

    def acknowledged(self, packet_id: int) -> Iterator[Sending]:
        """The broker has one; gives those that may go out in its place."""
        self._out.pop(packet_id, None)
        return self._next()

    def connection_lost(self) -> None:
        """Everything waits for the next connection."""
        self._room = 0
        self._again = {**self._out, **self._again}
        self._out = {}

    def connected(self, *, receive_maximum: int, session_present: bool) -> Iterator[Sending]:
        """Gives what was out and is sent again, then what waited.

        Args:
            receive_maximum: How many the broker takes at once.
            session_present: Whether the broker remembers what it has seen of them.
        """
        self._room = receive_maximum
        self._again_is_dup = session_present
        return self._next()

    def new_packet_id(self) -> int:
        """A packet identifier that no publication has."""
        while True:
            self._last_id = self._last_id % _LAST_PACKET_ID + 1
            if self._last_id not in self._out and self._last_id not in self._again:
                return self._last_id

    def _next(self) -> Iterator[Sending]:
        while len(self._out) < self._room and (self._again or self._waiting):
            if self._again:
                packet_id = next(iter(self._again))
                sending = Sending(packet_id, self._again.pop(packet_id), dup=self._again_is_dup)
            else:
                sending = Sending(self.new_packet_id(), self._waiting.popleft())
            self._out[sending.packet_id] = sending.publication
            yield sending
