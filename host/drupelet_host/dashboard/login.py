"""Insertion of the account into a CONNECT packet that a browser made without one.

MQTT 5.0 (OASIS), sections 2.1.4 (Remaining Length) and 3.1 (CONNECT). MQTT 3.1.1 has the same layout without
properties.
"""

from __future__ import annotations

from drupelet_shared.errors import InvalidValueError

_CONNECT = 0x10
_PROTOCOL_NAME = b"\x00\x04MQTT"
# The flags follow the protocol's name and level.
_FLAGS_OFFSET = len(_PROTOCOL_NAME) + 1
_WILL, _PASSWORD, _USERNAME = 0x04, 0x40, 0x80
# The length is encoded in digits of seven bits, the lowest first; this bit is set if another digit follows.
_MORE = 0x80
_MAX_LENGTH_BYTES = 4
_MAX_BYTES = 65536


def split_packet(data: bytes) -> tuple[bytes, bytes] | None:
    """Split received bytes into the first packet's body and the rest; None while the packet is incomplete.

    Raises:
        InvalidValueError: The first packet is not a CONNECT, or is larger than 64 KiB.
    """
    if data and data[0] != _CONNECT:
        raise InvalidValueError(f"first packet {data[0]:#04x}: expected a CONNECT")
    digits = data[1 : 1 + _MAX_LENGTH_BYTES]
    count = next((number for number, byte in enumerate(digits, start=1) if not byte & _MORE), None)
    if count is None:
        if len(digits) == _MAX_LENGTH_BYTES:
            raise InvalidValueError(f"CONNECT packet: its length has more than {_MAX_LENGTH_BYTES} bytes")
        return None
    length = sum((byte & ~_MORE) << (7 * place) for place, byte in enumerate(digits[:count]))
    if length > _MAX_BYTES:
        raise InvalidValueError(f"CONNECT packet of {length} bytes: at most {_MAX_BYTES}")
    start, end = 1 + count, 1 + count + length
    return (data[start:end], data[end:]) if len(data) >= end else None


def add_login(body: bytes, *, username: str | None, password: str | None) -> bytes:
    """Return a whole CONNECT packet with an account, from the body of one without.

    Args:
        body: The packet without its fixed header.
        username: The account's name; None adds no account.
        password: The account's password; None adds none.

    Returns:
        The packet with its fixed header.

    Raises:
        InvalidValueError: The packet has an account or a will already, or is not of MQTT 3.1.1 or 5.
    """
    if not body.startswith(_PROTOCOL_NAME) or len(body) <= _FLAGS_OFFSET:
        raise InvalidValueError("CONNECT packet: expected MQTT 3.1.1 or 5")
    flags = body[_FLAGS_OFFSET]
    if flags & (_WILL | _PASSWORD | _USERNAME):
        raise InvalidValueError("CONNECT packet: it has a will or an account already")
    # Without a will the client identifier is the payload's last field, and the account follows it.
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
