"""Encodes and decodes the data types of MQTT 5: numbers, texts and bytes (section 1.5)."""

from __future__ import annotations

from drupelet_agent.mqtt.errors import EncodingError, MalformedPacketError

_SEVEN_BITS = 0x7F
_MORE = 0x80
_LONGEST = 4
MOST_VARIABLE = 268_435_455
# A length of two bytes comes first (section 1.5.4).
MOST_BYTES = 65_535


def write_variable(number: int) -> bytes:
    """Encode a Variable Byte Integer (section 1.5.5).

    Raises:
        EncodingError: The number needs more than four bytes.
    """
    if number <= _SEVEN_BITS:
        return bytes((number,))
    if number > MOST_VARIABLE:
        raise EncodingError(f"a length of {number} bytes: MQTT carries at most {MOST_VARIABLE}")
    encoded = bytearray()
    while number > _SEVEN_BITS:
        encoded.append(number & _SEVEN_BITS | _MORE)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def write_bytes(data: bytes) -> bytes:
    """Encode Binary Data: a length of two bytes, and the bytes (section 1.5.6).

    Raises:
        EncodingError: There are more than 65,535 bytes.
    """
    if len(data) > MOST_BYTES:
        raise EncodingError(f"{len(data)} bytes: MQTT carries at most {MOST_BYTES} in one field")
    return len(data).to_bytes(2, "big") + data


def write_text(text: str) -> bytes:
    """Encode a UTF-8 Encoded String (section 1.5.4).

    Raises:
        EncodingError: The text is longer than 65,535 bytes in UTF-8, or contains U+0000 or a surrogate.
    """
    return write_bytes(encode_text(text))


def encode_text(text: str) -> bytes:
    """Encode a text in UTF-8, without its length.

    Raises:
        EncodingError: The text contains U+0000 or a surrogate.
    """
    if "\0" in text:
        raise EncodingError("a text contains U+0000, which MQTT forbids")
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise EncodingError("a text contains a surrogate, which UTF-8 cannot encode") from error


def read_variable(data: memoryview, start: int) -> tuple[int, int] | None:
    """Decode a Variable Byte Integer, and return it with the position behind it; None if the data ends first.

    Raises:
        MalformedPacketError: The integer is longer than four bytes.
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
    """Decode Binary Data, and return it with the position behind it.

    Raises:
        MalformedPacketError: The data ends first.
    """
    value, end = _read_prefixed(data, start)
    return bytes(value), end


def read_text(data: memoryview, start: int) -> tuple[str, int]:
    """Decode a UTF-8 Encoded String, and return it with the position behind it.

    Bytes that are not UTF-8 are replaced: a broker may pass on what it did not check, and no client may end the
    connection of another.

    Raises:
        MalformedPacketError: The data ends first.
    """
    value, end = _read_prefixed(data, start)
    return str(value, "utf-8", "replace"), end


def read_number(data: memoryview, start: int, *, size: int) -> tuple[int, int]:
    """Decode an integer, and return it with the position behind it.

    Args:
        data: The packet behind its fixed header.
        start: Where the integer begins.
        size: How many bytes it takes.

    Returns:
        The integer, and the position after it.

    Raises:
        MalformedPacketError: The data ends first.
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
