"""The memory that messages in progress may hold: requests that wait, replies unsent or unacknowledged."""

from __future__ import annotations


class MemoryBudget:
    """Counts bytes that are held against a limit.

    Invariant: what is held exceeds the limit only by one reservation, made while nothing else was held.
    """

    def __init__(self, limit_bytes: int) -> None:
        """Start with nothing held.

        Args:
            limit_bytes: The most bytes that may be held.
        """
        self._limit_bytes = limit_bytes
        self.held_bytes = 0

    @property
    def limit_bytes(self) -> int:
        """The most bytes that may be held."""
        return self._limit_bytes

    def reserve(self, count: int) -> bool:
        """Reserve bytes, and return whether there was room for them.

        A single reservation larger than the limit fits while nothing else is held, so that a small limit delays large
        messages but refuses none.
        """
        if self.held_bytes and self.held_bytes + count > self._limit_bytes:
            return False
        self.held_bytes += count
        return True

    def release(self, count: int) -> None:
        """Return reserved bytes."""
        self.held_bytes -= count
