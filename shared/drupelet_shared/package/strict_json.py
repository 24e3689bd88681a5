"""JSON as RFC 8259 and I-JSON (RFC 7493) define it: every key once, every number finite."""

from __future__ import annotations

import json
import math
from typing import Any


def check_strict_json(data: bytes) -> None:
    """Refuse what lenient readers accept and read differently.

    Raises:
        ValueError: The text is not UTF-8 or not JSON, an object has a key twice, or a number is not finite.
    """
    try:
        json.loads(
            data.decode(), object_pairs_hook=_unique_keys, parse_constant=_refuse_constant, parse_float=_finite_number
        )
    except RecursionError as error:
        raise ValueError("the nesting is too deep") from error


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(
            f"key {next(key for key in keys if keys.count(key) > 1)!r} appears more than once in an object"
        )
    return members


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is not a JSON number")


def _finite_number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"number {text[:20]} is too large")
    return number
