"""MQTT 5 packets in a recorded stream, as far as tests ask what was sent and in which order (section 2.1)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

CONNECT, PUBLISH, PUBACK = 1, 3, 4
_RECEIVE_MAXIMUM = 0x21
# Length of the CONNECT properties that the agent sends.
_PROPERTY_BYTES = {0x11: 4, _RECEIVE_MAXIMUM: 2, 0x27: 4}
_CONNECT_HEADER_BYTES = 10


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet: its type, and what follows the fixed header."""

    kind: int
    body: bytes

    @property
    def topic(self) -> str:
        """The topic of a PUBLISH."""
        (length,) = struct.unpack_from("!H", self.body)
        return self.body[2 : 2 + length].decode()


def split_packets(stream: bytes) -> Iterator[Packet]:
    """Yield the whole packets at the start of a stream; one that is cut off at the end is left out."""
    offset = 0
    while True:
        length, start = _variable_length(stream, offset + 1)
        if start is None or start + length > len(stream):
            return
        yield Packet(kind=stream[offset] >> 4, body=stream[start : start + length])
        offset = start + length


def receive_maximum(connect: Packet) -> int | None:
    """Return what a CONNECT says about how many messages the client takes at once."""
    length, offset = _variable_length(connect.body, _CONNECT_HEADER_BYTES)
    assert offset is not None
    end = offset + length
    while offset < end:
        identifier = connect.body[offset]
        size = _PROPERTY_BYTES[identifier]
        if identifier == _RECEIVE_MAXIMUM:
            return int.from_bytes(connect.body[offset + 1 : offset + 1 + size], "big")
        offset += 1 + size
    return None


def _variable_length(data: bytes, offset: int) -> tuple[int, int | None]:
    value, shift = 0, 0
    while offset < len(data):
        byte = data[offset]
        value |= (byte & 0x7F) << shift
        offset, shift = offset + 1, shift + 7
        if byte < 0x80:
            return value, offset
    return 0, None
