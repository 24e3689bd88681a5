"""Acknowledgements in the order in which the messages arrived, as MQTT 5 requires (section 4.6)."""

from __future__ import annotations

from collections.abc import Callable, Hashable

# A broker delivers again at most what was unacknowledged at once, which its Receive Maximum bounds.
_REMEMBERED = 1024


class PendingAcknowledgement:
    """The acknowledgement that one delivery of a QoS 1 message awaits.

    Attributes:
        packet_id: The message's packet identifier.
        identity: Distinguishes the message from a later one with the same packet identifier.
        is_delivered: Whether the broker delivered the message on the present connection.
        is_complete: Whether the message is handled.
    """

    __slots__ = ("identity", "is_complete", "is_delivered", "packet_id")

    def __init__(self, packet_id: int, identity: Hashable, *, is_complete: bool) -> None:
        self.packet_id = packet_id
        self.identity = identity
        self.is_delivered = True
        self.is_complete = is_complete


class Acknowledgements:
    """Sends the acknowledgements of one session's QoS 1 messages in the order of their delivery.

    Invariants: a message is acknowledged after every message that was delivered before it, on the connection that
    delivered it, and never on behalf of a message of an earlier session.
    """

    def __init__(self, send: Callable[[int], None]) -> None:
        """Start without messages.

        Args:
            send: Acknowledges a packet identifier to the broker.
        """
        self._send = send
        # In the order of delivery; messages that were not delivered again yet stand before those that were.
        self._pending: dict[int, PendingAcknowledgement] = {}
        # Identities by packet identifier, oldest first: a connection may end before the broker reads a PUBACK.
        self._acknowledged: dict[int, Hashable] = {}

    def __len__(self) -> int:
        """Return how many messages are not acknowledged yet."""
        return len(self._pending)

    def register(self, packet_id: int, *, duplicate: bool, identity: Hashable = None) -> PendingAcknowledgement | None:
        """Register a delivery.

        Args:
            packet_id: The message's packet identifier.
            duplicate: Whether the broker marks the message as delivered before.
            identity: Distinguishes the message from a later one with the same packet identifier; None if nothing does.

        Returns:
            The acknowledgement to complete once the message is handled; None if the message is being handled or was
            handled before, and must not be handled again.
        """
        known = self._pending.pop(packet_id, None)
        # rumqttd 0.20 does not mark what it delivers again.
        if known is not None and (duplicate or (identity is not None and identity == known.identity)):
            known.is_delivered = True
            # The broker may have delivered messages in front of it that it has not acknowledged either.
            self._pending[packet_id] = known
            self._flush()
            return None
        is_repetition = duplicate and identity is not None and self._acknowledged.get(packet_id) == identity
        pending = PendingAcknowledgement(packet_id, identity, is_complete=is_repetition)
        self._pending[packet_id] = pending
        if is_repetition:
            self._flush()
            return None
        return pending

    def complete(self, pending: PendingAcknowledgement) -> None:
        """Acknowledge a handled message as soon as all before it are; without effect once its session has ended."""
        pending.is_complete = True
        self._flush()

    def connection_lost(self) -> None:
        """Hold every acknowledgement until the broker has delivered its message again."""
        for pending in self._pending.values():
            pending.is_delivered = False

    def session_lost(self) -> None:
        """Forget every message: the broker has lost the session, and expects no acknowledgement."""
        self._pending.clear()
        self._acknowledged.clear()

    def _flush(self) -> None:
        for packet_id, identity in self._ready():
            del self._pending[packet_id]
            self._acknowledged.pop(packet_id, None)
            self._acknowledged[packet_id] = identity
            if len(self._acknowledged) > _REMEMBERED:
                del self._acknowledged[next(iter(self._acknowledged))]
            self._send(packet_id)

    def _ready(self) -> list[tuple[int, Hashable]]:
        """Return the packet identifiers and identities of the messages whose turn it is."""
        ready = []
        for packet_id, pending in self._pending.items():
            if not pending.is_delivered:
                continue
            if not pending.is_complete:
                break
            ready.append((packet_id, pending.identity))
        return ready
