"""The size of an upload's chunks: what the broker accepts at first, halved while chunks are lost."""

from __future__ import annotations

from dataclasses import dataclass

# Small enough to pass between two interruptions of a bad link, large enough for a good one.
DEFAULT_CHUNK_BYTES = 64 * 2**10
# Below this a package of some megabytes takes tens of thousands of messages.
MIN_CHUNK_BYTES = 2**10


@dataclass(frozen=True, slots=True)
class ChunkSize:
    """The number of bytes in a chunk."""

    size_bytes: int

    @classmethod
    def for_broker(cls, max_payload_bytes: int | None) -> ChunkSize:
        """Return the default size, or less where the broker accepts no payload of that size.

        Args:
            max_payload_bytes: The largest payload that the broker accepts; None if it has announced no limit.
        """
        limit = DEFAULT_CHUNK_BYTES if max_payload_bytes is None else max_payload_bytes
        return cls(max(1, min(DEFAULT_CHUNK_BYTES, limit)))

    def halved(self) -> ChunkSize | None:
        """Return half the size; None if that is below `MIN_CHUNK_BYTES`."""
        half = self.size_bytes // 2
        return ChunkSize(half) if half >= MIN_CHUNK_BYTES else None
