"""Acknowledgements in the order the messages came, as MQTT 5 demands (section 4.6), whenever each is dealt with."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

# A broker sends again at most what it had out at once, its Receive Maximum.
_REMEMBERED = 1024


@dataclass(slots=True)
class _Entry:
    identity: Hashable
    delivered: bool = True
    done: bool = False


class Acknowledgements:
    """The QoS 1 messages of one session that the broker still waits to hear about, by packet identifier."""

    def __init__(self, send: Callable[[int], None]) -> None:
        self._send = send
        # In the order of delivery; those that were not delivered again yet come after all that were.
        self._entries: dict[int, _Entry] = {}
        # Acknowledged last, the oldest first: a connection may end before the broker hears of it.
        self._acknowledged: dict[int, Hashable] = {}

    def is_new(self, packet_id: int, *, duplicate: bool, identity: Hashable = None) -> bool:
        """Note a delivery.

        Args:
            packet_id: The message's packet identifier.
            duplicate: Whether the broker says that it has sent the message before.
            identity: What tells it from a later message under the same packet identifier; None if nothing does.

        Returns:
            Whether the message is to be dealt with: a repetition of one that is in work, or was dealt with, is not.
        """
        if duplicate and packet_id in self._entries:
            entry = self._entries.pop(packet_id)
            entry.delivered = True
            # What the broker has not heard of either may have come in front of it this time.
            self._entries[packet_id] = entry
            self._flush()
            return False
        known = duplicate and identity is not None and self._acknowledged.get(packet_id) == identity
        self._entries[packet_id] = _Entry(identity, done=known)
        self._flush()
        return not known

    def done(self, packet_id: int) -> None:
        """A message is dealt with; it is acknowledged as soon as all before it are."""
        entry = self._entries.get(packet_id)
        # Without an entry the session that delivered the message is gone, and with it the duty to acknowledge.
        if entry is not None:
            entry.done = True
            self._flush()

    def connection_lost(self) -> None:
        """Wait with every acknowledgement until the broker has sent its message again."""
        for entry in self._entries.values():
            entry.delivered = False

    def session_lost(self) -> None:
        """The broker knows nothing of these messages any more."""
        self._entries.clear()
        self._acknowledged.clear()

    def _flush(self) -> None:
        for packet_id, entry in list(self._entries.items()):
            if not entry.delivered:
                continue
            if not entry.done:
                return
            del self._entries[packet_id]
            self._acknowledged.pop(packet_id, None)
            self._acknowledged[packet_id] = entry.identity
            if len(self._acknowledged) > _REMEMBERED:
                del self._acknowledged[next(iter(self._acknowledged))]
            self._send(packet_id)
