"""How MQTT 5 writes numbers, texts and bytes (section 1.5)."""

from __future__ import annotations

from drupelet_agent.mqtt.errors import MalformedPacketError

_SEVEN_BITS = 0x7F
_MORE = 0x80
_LONGEST = 4


def write_variable(number: int) -> bytes:
    """A Variable Byte Integer (section 1.5.5)."""
    if number <= _SEVEN_BITS:
        return bytes((number,))
    found = bytearray()
    while number > _SEVEN_BITS:
        found.append(number & _SEVEN_BITS | _MORE)
        number >>= 7
    found.append(number)
    return bytes(found)


def write_bytes(data: bytes) -> bytes:
    """Binary Data: a length of two bytes, and the bytes (section 1.5.6)."""
    return len(data).to_bytes(2, "big") + data


def write_text(text: str) -> bytes:
    """A UTF-8 Encoded String (section 1.5.4)."""
    return write_bytes(text.encode())


def read_variable(data: memoryview, start: int) -> tuple[int, int] | None:
    """A Variable Byte Integer and where it ends; None if the data ends first.

    Raises:
        MalformedPacketError: It is longer than four bytes.
    """
    number = 0
    for index in range(_LONGEST):
        if start + index >= len(data):
            return None
        byte = data[start + index]
        number |= (byte & _SEVEN_BITS) << 7 * index
        if not byte & _MORE:
            return number, start + index + 1
    raise MalformedPacketError("a length of more than four bytes")


def read_bytes(data: memoryview, start: int) -> tuple[bytes, int]:
    """Binary Data and where it ends.

    Raises:
        MalformedPacketError: It is cut short.
    """
    value, end = _read_prefixed(data, start)
    return bytes(value), end


def read_text(data: memoryview, start: int) -> tuple[str, int]:
    """A text and where it ends; what is no UTF-8 is replaced, so that no client can end the connection of another.

    Raises:
        MalformedPacketError: It is cut short.
    """
    value, end = _read_prefixed(data, start)
    return str(value, "utf-8", "replace"), end


def read_number(data: memoryview, start: int, *, size: int) -> tuple[int, int]:
    """An integer of so many bytes and where it ends.

    Raises:
        MalformedPacketError: It is cut short.
    """
    end = start + size
    if end > len(data):
        raise MalformedPacketError("the packet ends within a number")
    return int.from_bytes(data[start:end], "big"), end


def _read_prefixed(data: memoryview, start: int) -> tuple[memoryview, int]:
    first = start + 2
    end = first + int.from_bytes(data[start:first], "big")
    if end > len(data):
        raise MalformedPacketError("the packet ends within a text")
    return data[first:end], end
