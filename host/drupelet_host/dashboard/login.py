"""The broker account's name and password, put into a CONNECT packet that a browser made without them.

MQTT 5.0 (OASIS), sections 2.1.4 (Remaining Length) and 3.1 (CONNECT); the layout is that of 3.1.1 but for properties.
"""

from __future__ import annotations

from drupelet_shared.errors import InvalidValueError

_CONNECT = 0x10
_PROTOCOL_NAME = b"\x00\x04MQTT"
# Behind the protocol's name and its level.
_FLAGS_OFFSET = len(_PROTOCOL_NAME) + 1
_WILL, _PASSWORD, _USERNAME = 0x04, 0x40, 0x80
# The length is written in digits of seven bits, the least first; this bit says that one more follows.
_MORE = 0x80
_MOST_LENGTH_BYTES = 4
_MOST_BYTES = 65536


def split_packet(data: bytes) -> tuple[bytes, bytes] | None:
    """The first packet's body, and what comes behind it; None while there is more to come.

    Raises:
        InvalidValueError: It is not a CONNECT packet, or a very large one.
    """
    if data and data[0] != _CONNECT:
        raise InvalidValueError(f"first packet {data[0]:#04x}: expected a CONNECT")
    digits = data[1 : 1 + _MOST_LENGTH_BYTES]
    count = next((number for number, byte in enumerate(digits, start=1) if not byte & _MORE), None)
    if count is None:
        if len(digits) == _MOST_LENGTH_BYTES:
            raise InvalidValueError(f"CONNECT packet: its length has more than {_MOST_LENGTH_BYTES} bytes")
        return None
    length = sum((byte & ~_MORE) << (7 * place) for place, byte in enumerate(digits[:count]))
    if length > _MOST_BYTES:
        raise InvalidValueError(f"CONNECT packet of {length} bytes: at most {_MOST_BYTES}")
    start, end = 1 + count, 1 + count + length
    return (data[start:end], data[end:]) if len(data) >= end else None


def add_login(body: bytes, *, username: str | None, password: str | None) -> bytes:
    """A whole CONNECT packet with the account in it, from the body of one without.

    Raises:
        InvalidValueError: It has an account or a will already, or is no CONNECT of MQTT 3.1.1 or 5.
    """
    if not body.startswith(_PROTOCOL_NAME) or len(body) <= _FLAGS_OFFSET:
        raise InvalidValueError("CONNECT packet: expected MQTT 3.1.1 or 5")
    flags = body[_FLAGS_OFFSET]
    if flags & (_WILL | _PASSWORD | _USERNAME):
        raise InvalidValueError("CONNECT packet: it has a will or an account already")
    # Without a will the client id is the payload's last field, and the account comes right behind it.
    if username is not None:
        flags |= _USERNAME
        body += _encode_text(username)
        if password is not None:
            flags |= _PASSWORD
            body += _encode_text(password)
    body = body[:_FLAGS_OFFSET] + bytes([flags]) + body[_FLAGS_OFFSET + 1 :]
    return bytes([_CONNECT]) + _encode_length(len(body)) + body


def _encode_text(text: str) -> bytes:
    encoded = text.encode()
    return len(encoded).to_bytes(2, "big") + encoded


def _encode_length(length: int) -> bytes:
    encoded = bytearray()
    while True:
        length, byte = length >> 7, length & ~_MORE & 0xFF
        encoded.append(byte | (_MORE if length else 0))
        if not length:
            return bytes(encoded)
