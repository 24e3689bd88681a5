"""Changes to valid inputs: bytes of any kind, parsed JSON, and the numbers where parsers go wrong."""

from __future__ import annotations

import copy
import json
import re
import struct
from collections.abc import Sequence
from random import Random
from typing import Any

_NUMBERS = (0, 1, 2, 3, 4, 7, 8, 9, 127, 128, 255, 256, 1024, 32_767, 32_768, 65_534, 65_535, 65_536)
_LARGE = (2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1, 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 10**30)
_SCALARS: tuple[Any, ...] = (
    None,
    True,
    False,
    "",
    "a",
    "\x00",
    "\U0001f353",
    "x" * 300,
    "../x",
    0.5,
    -0.0,
    5e-324,
    1e308,
    *_NUMBERS,
    *_LARGE,
    *(-number for number in (1, 2, 2**31, 2**63)),
)
# What a JSON encoder does not write and a lenient parser may read.
_TOKENS = (
    b"NaN",
    b"Infinity",
    b"-Infinity",
    b"1e999",
    b"-0",
    b"\\ud800",
    b"[" * 300,
    b'{"a":' * 300,
    b"\xff",
    b"9" * 5000,
)
_DIGITS = re.compile(rb"\d+")
_WIDTHS = "BHIQ"


def mutate_bytes(data: bytes, random: Random, *, others: Sequence[bytes] = ()) -> bytes:
    """One to four changes of any kind; `others` may lend a piece."""
    found = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 3, 4))):
        change = random.choice(_BYTE_CHANGES)
        change(found, random)
    if others and not random.randrange(8):
        other = random.choice(others)
        found = found[: _position(found, random)] + other[random.randrange(len(other) + 1) :]
    return bytes(found)


def mutate_json(data: bytes, random: Random) -> bytes:
    """One to three changes inside the document; bytes that are no JSON are changed as bytes."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return mutate_bytes(data, random)
    for _ in range(random.choice((1, 1, 2, 3))):
        document = mutate_value(document, random)
    try:
        return json.dumps(document).encode()
    except (ValueError, RecursionError):
        return data


def mutate_value(document: Any, random: Random) -> Any:  # noqa: ANN401 - any JSON value
    """A copy of a document with one node replaced, removed, repeated, renamed or nested."""
    document = copy.deepcopy(document)
    places = list(_places(document))
    if not places:
        return random.choice(_SCALARS)
    container, key = random.choice(places)
    match random.randrange(7):
        case 0 | 1 | 2:
            container[key] = random.choice(_SCALARS)
        case 3:
            del container[key]
        case 4:
            other, other_key = random.choice(places)
            container[key] = copy.deepcopy(other[other_key])
        case 5:
            container[key] = random.choice(([container[key]], {"name": container[key]}, [container[key]] * 3, [], {}))
        case _:
            _repeat(container, key, random)
    return document


def _repeat(container: Any, key: Any, random: Random) -> None:  # noqa: ANN401 - any JSON container
    if isinstance(container, list):
        container.insert(random.randrange(len(container) + 1), copy.deepcopy(container[key]))
    else:
        container[random.choice((*container, "data", "parameters", "x"))] = copy.deepcopy(container[key])


def _places(value: Any) -> list[tuple[Any, Any]]:  # noqa: ANN401 - any JSON value
    found, waiting = [], [value] if isinstance(value, list | dict) else []
    while waiting:
        container = waiting.pop()
        keys = container.keys() if isinstance(container, dict) else range(len(container))
        for key in keys:
            found.append((container, key))
            if isinstance(container[key], list | dict):
                waiting.append(container[key])
    return found


def _position(data: bytearray, random: Random) -> int:
    # Formats keep their structure at the ends as often as in the middle.
    length = len(data)
    if length > 64 and not random.randrange(3):
        return random.choice((random.randrange(64), length - random.randrange(64) - 1))
    return random.randrange(length + 1)


def _flip_bit(data: bytearray, random: Random) -> None:
    if data:
        data[_position(data, random) % len(data)] ^= 1 << random.randrange(8)


def _set_byte(data: bytearray, random: Random) -> None:
    if data:
        data[_position(data, random) % len(data)] = random.randrange(256)


def _write_number(data: bytearray, random: Random) -> None:
    width = random.choice(_WIDTHS)
    size = struct.calcsize(width)
    number = random.choice((*_NUMBERS, *_LARGE, len(data), random.getrandbits(64))) & (1 << (8 * size)) - 1
    start = _position(data, random)
    data[start : start + size] = struct.pack(random.choice("<>") + width, number)


def _write_digits(data: bytearray, random: Random) -> None:
    places = list(_DIGITS.finditer(data))
    if places:
        place = random.choice(places)
        sign = random.choice((b"", b"", b"-"))
        data[place.start() : place.end()] = sign + str(random.choice((*_NUMBERS, *_LARGE))).encode()


def _remove(data: bytearray, random: Random) -> None:
    start = _position(data, random)
    del data[start : start + random.choice((1, 2, 4, 16, len(data)))]


def _repeat_piece(data: bytearray, random: Random) -> None:
    start, end = sorted((_position(data, random), _position(data, random)))
    data[start:start] = data[start : min(end, start + 4096)]


def _insert(data: bytearray, random: Random) -> None:
    start = _position(data, random)
    data[start:start] = random.choice((*_TOKENS, random.randbytes(random.randrange(1, 9))))


_BYTE_CHANGES = (_flip_bit, _set_byte, _write_number, _write_digits, _remove, _repeat_piece, _insert)
