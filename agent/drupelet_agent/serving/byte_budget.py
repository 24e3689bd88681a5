"""Bytes that requests in progress may hold in the agent itself."""

from __future__ import annotations


class ByteBudget:
    """Counts bytes that are held against a limit.

    Invariant: what is held exceeds the limit only by one reservation that was made while nothing was held. A limit
        below the size of one request thus delays large requests and refuses none.
    """

    def __init__(self, limit_bytes: int) -> None:
        """Start with nothing held.

        Args:
            limit_bytes: The most bytes that may be held.
        """
        self._limit_bytes = limit_bytes
        self._held_bytes = 0

    @property
    def limit_bytes(self) -> int:
        """The most bytes that may be held."""
        return self._limit_bytes

    @property
    def held_bytes(self) -> int:
        """The bytes that are held now."""
        return self._held_bytes

    def reserve(self, count: int) -> bool:
        """Reserve bytes, and return whether there was room for them."""
        if self._held_bytes and self._held_bytes + count > self._limit_bytes:
            return False
        self._held_bytes += count
        return True

    def release(self, count: int) -> None:
        """Return reserved bytes."""
        self._held_bytes -= count
