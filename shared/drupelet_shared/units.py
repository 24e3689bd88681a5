"""Byte sizes as people write them."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, Field, WithJsonSchema

from drupelet_shared.errors import InvalidValueError

_FACTORS = {
    "": 1,
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
}
_SIZE = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*([KMG]?I?B?)\s*$", re.IGNORECASE)


def parse_bytes(value: str | int) -> int:
    """Bytes in "512MB", "1.5 GiB" or a plain number; KB, MB and GB are powers of 1000, KiB, MiB and GiB of 1024.

    Raises:
        InvalidValueError: The text is not a size.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = _SIZE.match(value) if isinstance(value, str) else None
    if match is None or match[2].upper() not in _FACTORS:
        raise InvalidValueError(f"size {value!r}: expected a number with B, KB, MB, GB, KiB, MiB or GiB")
    return int(float(match[1]) * _FACTORS[match[2].upper()])


def format_bytes(count: float) -> str:
    """Return a size for people: "44.7 MB", in powers of 1000 as storage is sold."""
    for factor, unit in ((10**9, "GB"), (10**6, "MB"), (10**3, "KB")):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count:.0f} B"


def _parse_for_pydantic(value: object) -> object:
    if isinstance(value, str):
        try:
            return parse_bytes(value)
        except InvalidValueError as error:
            # pydantic gathers ValueErrors into its one report of all faults.
            raise ValueError(str(error)) from error
    return value


ByteSize = Annotated[
    int,
    BeforeValidator(_parse_for_pydantic),
    Field(gt=0),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "exclusiveMinimum": 0},
                {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*([KkMmGg]?[Ii]?[Bb]?)\s*$"},
            ],
            "examples": ["512MB"],
        }
    ),
]
