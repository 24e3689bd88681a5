"""When a number counts as beyond its limit, and when as back again: pure functions with hysteresis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Change = Literal["raised", "cleared"]


@dataclass(frozen=True, slots=True)
class Threshold:
    """A limit on a number.

    Attributes:
        limit: Beyond it, the number is bad.
        clear_at: It must come back as far as this; bad numbers lie on `limit`'s other side.
        windows: How many readings in a row it takes, either way.
    """

    limit: float
    clear_at: float
    windows: int


@dataclass(frozen=True, slots=True)
class Watch:
    """What is known of a number so far: whether it counts as bad, and how many readings in a row say otherwise."""

    raised: bool = False
    streak: int = 0


def observe(watch: Watch, value: float | None, threshold: Threshold) -> tuple[Watch, Change | None]:
    """Take in one reading.

    Args:
        watch: What was known before.
        value: The reading; None says nothing either way.
        threshold: The limit; it is an upper one where `clear_at` is at most `limit`, a lower one otherwise.

    Returns:
        What is known now, and the change if there was one.
    """
    if value is None:
        return watch, None
    if not (_is_calm(value, threshold) if watch.raised else _is_beyond(value, threshold)):
        return Watch(raised=watch.raised), None
    if watch.streak + 1 < threshold.windows:
        return Watch(raised=watch.raised, streak=watch.streak + 1), None
    return Watch(raised=not watch.raised), "cleared" if watch.raised else "raised"


def _is_beyond(value: float, threshold: Threshold) -> bool:
    return value > threshold.limit if _is_upper(threshold) else value < threshold.limit


def _is_calm(value: float, threshold: Threshold) -> bool:
    return value <= threshold.clear_at if _is_upper(threshold) else value >= threshold.clear_at


def _is_upper(threshold: Threshold) -> bool:
    return threshold.clear_at <= threshold.limit
