"""Splits the bytes of a socket into MQTT packets."""

from __future__ import annotations

from collections.abc import Iterator

from drupelet_agent.mqtt.codec.encoding import read_variable
from drupelet_agent.mqtt.errors import PacketSizeError

# Above glibc's threshold each buffer would be mapped and unmapped again.
_SMALL_READ_BYTES = 65_536
_LARGE_READ_BYTES = 1_048_576


class Framer:
    """Keeps the start of a packet until the rest has arrived."""

    def __init__(self, *, max_packet_bytes: int) -> None:
        """Start between two packets.

        Args:
            max_packet_bytes: The largest packet that is accepted, with its fixed header.
        """
        self._max_packet_bytes = max_packet_bytes
        self._partial = bytearray()
        self._missing_bytes = 0

    @property
    def read_bytes(self) -> int:
        """The number of bytes to ask the socket for."""
        return min(max(self._missing_bytes, _SMALL_READ_BYTES), _LARGE_READ_BYTES)

    def feed(self, data: bytes) -> Iterator[tuple[int, memoryview]]:
        """Add what was read, and yield every packet that is now complete: its first byte, and what follows its length.

        Raises:
            PacketSizeError: A packet is longer than the limit; nothing of it is kept.
            MalformedPacketError: A packet's length takes more than four bytes.
        """
        if self._partial:
            self._partial += data
            self._missing_bytes -= len(data)
            if self._missing_bytes > 0:
                return
            rest = memoryview(self._partial)
            # The packets are views of it, so it is never written again.
            self._partial = bytearray()
        else:
            rest = memoryview(data)
        self._missing_bytes = 0
        while rest:
            length = read_variable(rest, 1)
            if length is None:
                break
            end = length[0] + length[1]
            if end > self._max_packet_bytes:
                raise PacketSizeError(f"a packet of {end} bytes: the limit is {self._max_packet_bytes}")
            if end > len(rest):
                self._missing_bytes = end - len(rest)
                break
            yield rest[0], rest[length[1] : end]
            rest = rest[end:]
        self._partial = bytearray(rest)
