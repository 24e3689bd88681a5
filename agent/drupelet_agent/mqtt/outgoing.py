"""Publications of QoS 1 until the broker has acknowledged each (MQTT 5, sections 4.3.2, 4.4 and 4.9)."""

from __future__ import annotations

from collections import deque
from itertools import chain

from drupelet_agent.mqtt.message import Publication
from drupelet_agent.mqtt.outcome import OutcomeCallback
from drupelet_agent.mqtt.packet_ids import PacketIds

# A publication that was under way when the broker ended this many connections in a row goes out alone, ...
_LOSSES_BEFORE_ISOLATION = 2
# ... and once it was alone under way when the broker ended the connection, this many losses are the last.
MOST_LOSSES = 3
# So many identifiers stay free for SUBSCRIBE packets.
_RESERVED_IDS = 256
_MOST_IN_FLIGHT = 65_535 - _RESERVED_IDS


class Delivery:
    """A publication of QoS 1 on its way.

    Attributes:
        publication: What is published.
        on_outcome: Receives the outcome; None without an observer.
        size_bytes: The size of its packet.
        packet_id: Its Packet Identifier; 0 before it is sent for the first time.
        is_dup: Whether the broker may already have it, which the packet then says.
        end_offset: How many bytes the connection will have sent when this one is sent; 0 while it waits.
        losses: How many connections in a row ended while it was under way.
    """

    __slots__ = ("end_offset", "is_dup", "losses", "on_outcome", "packet_id", "publication", "size_bytes")

    def __init__(self, publication: Publication, *, size_bytes: int, on_outcome: OutcomeCallback | None = None) -> None:
        """Start a delivery.

        Args:
            publication: What is published.
            size_bytes: The size of its packet.
            on_outcome: Receives the outcome.
        """
        self.publication = publication
        self.on_outcome = on_outcome
        self.size_bytes = size_bytes
        self.packet_id = 0
        self.is_dup = False
        self.end_offset = 0
        self.losses = 0


class Outgoing:
    """The unacknowledged and the waiting deliveries, in the order in which they were published.

    At most as many are in flight as the broker accepts. After a lost connection those that were in flight go out first,
    in their order and with their identifiers. One that is suspected to end connections goes out alone.
    """

    def __init__(self, packet_ids: PacketIds) -> None:
        """Start with no delivery.

        Args:
            packet_ids: Gives each delivery its identifier.
        """
        self._packet_ids = packet_ids
        self._in_flight: dict[int, Delivery] = {}
        self._resend: deque[Delivery] = deque()
        self._waiting: deque[Delivery] = deque()
        self._window = 0
        self._isolated: Delivery | None = None
        self.pending_bytes = 0

    def __len__(self) -> int:
        return len(self._in_flight) + len(self._resend) + len(self._waiting)

    def add(self, delivery: Delivery) -> None:
        """Add a delivery behind all others."""
        self._waiting.append(delivery)
        self.pending_bytes += delivery.size_bytes

    def next_ready(self) -> Delivery | None:
        """Move the next delivery that may be sent now into flight; None if none may."""
        if len(self._in_flight) >= self._window or self._isolated is not None:
            return None
        if self._resend:
            delivery = self._resend[0]
            if delivery.losses >= _LOSSES_BEFORE_ISOLATION:
                if self._in_flight:
                    return None
                self._isolated = delivery
            self._resend.popleft()
        elif self._waiting:
            packet_id = self._packet_ids.take()
            if packet_id is None:
                return None
            delivery = self._waiting.popleft()
            delivery.packet_id = packet_id
        else:
            return None
        self._in_flight[delivery.packet_id] = delivery
        return delivery

    def finish(self, packet_id: int) -> Delivery | None:
        """Remove a delivery that is in flight; None if there is none with this identifier."""
        delivery = self._in_flight.pop(packet_id, None)
        if delivery is not None:
            self._forget(delivery)
        return delivery

    def connection_opened(self, *, receive_maximum: int, session_present: bool) -> None:
        """Let deliveries go out again.

        Args:
            receive_maximum: How many the broker accepts before it has acknowledged the first.
            session_present: Whether the broker remembers which of them it has seen.
        """
        self._window = min(receive_maximum, _MOST_IN_FLIGHT)
        for delivery in self._resend:
            delivery.is_dup = session_present

    def connection_lost(self, *, blamed_up_to: int) -> Delivery | None:
        """Keep everything for the next connection, but for a delivery that ended the connection once too often.

        Args:
            blamed_up_to: How many bytes the connection had sent if they may have made the broker end it, otherwise 0.

        Returns:
            The delivery that is given up, if there is one.
        """
        self._window = 0
        for delivery in self._in_flight.values():
            was_sent = delivery.end_offset > 0
            delivery.losses += was_sent and delivery.end_offset - delivery.size_bytes < blamed_up_to
            delivery.end_offset = 0
        suspect, self._isolated = self._isolated, None
        if suspect is not None and suspect.losses >= MOST_LOSSES:
            self.finish(suspect.packet_id)
        else:
            suspect = None
        self._resend = deque(chain(self._in_flight.values(), self._resend))
        self._in_flight = {}
        return suspect

    def unsent_bytes(self, sent_offset: int) -> int:
        """Count the bytes in flight that wait for the socket.

        Args:
            sent_offset: How many bytes the connection has sent.
        """
        unsent = 0
        for delivery in reversed(self._in_flight.values()):
            if delivery.end_offset <= sent_offset:
                break
            unsent += min(delivery.size_bytes, delivery.end_offset - sent_offset)
        return unsent

    def clear(self) -> list[Delivery]:
        """Remove and return everything, in its order."""
        deliveries = [*self._in_flight.values(), *self._resend, *self._waiting]
        self._in_flight, self._isolated = {}, None
        self._resend.clear()
        self._waiting.clear()
        for delivery in deliveries:
            self._forget(delivery)
        return deliveries

    def _forget(self, delivery: Delivery) -> None:
        self.pending_bytes -= delivery.size_bytes
        if delivery is self._isolated:
            self._isolated = None
        if delivery.packet_id:
            self._packet_ids.release(delivery.packet_id)
