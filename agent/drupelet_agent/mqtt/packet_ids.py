"""Packet Identifiers: which are in use, and which is next (MQTT 5, section 2.2.1)."""

from __future__ import annotations

_LAST = 65_535


class PacketIds:
    """Gives out the identifiers 1 to 65,535 in turn; none is given out twice while it is in use."""

    def __init__(self) -> None:
        self._in_use: set[int] = set()
        self._last = 0

    def take(self) -> int | None:
        """Take an unused identifier; None while all of them are in use."""
        if len(self._in_use) >= _LAST:
            return None
        while True:
            self._last = self._last % _LAST + 1
            if self._last not in self._in_use:
                self._in_use.add(self._last)
                return self._last

    def release(self, packet_id: int) -> None:
        """Make an identifier available again."""
        self._in_use.discard(packet_id)
