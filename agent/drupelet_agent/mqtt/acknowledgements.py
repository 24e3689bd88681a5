"""Acknowledgements in the order the messages came, as MQTT 5 demands (section 4.6), whenever each is dealt with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class _Entry:
    delivered: bool = True
    done: bool = False


class Acknowledgements:
    """The QoS 1 messages of one session that the broker still waits to hear about, by packet identifier."""

    def __init__(self, send: Callable[[int], None]) -> None:
        self._send = send
        # In the order of delivery; a broker sends again in the same order.
        self._entries: dict[int, _Entry] = {}

    def is_new(self, packet_id: int, *, duplicate: bool) -> bool:
        """Note a delivery.

        Args:
            packet_id: The message's packet identifier.
            duplicate: Whether the broker says that it has sent the message before.

        Returns:
            Whether the message is to be dealt with: a repetition of one that is already in work is not.
        """
        if duplicate and packet_id in self._entries:
            self._entries[packet_id].delivered = True
            self._flush()
            return False
        self._entries[packet_id] = _Entry()
        return True

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

    def _flush(self) -> None:
        for packet_id, entry in list(self._entries.items()):
            if not (entry.done and entry.delivered):
                return
            del self._entries[packet_id]
            self._send(packet_id)
