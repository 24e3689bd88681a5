"""Thresholds with hysteresis: when a number exceeds its limit, and when it has returned; pure functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Change = Literal["raised", "cleared"]


@dataclass(frozen=True, slots=True)
class Threshold:
    """A limit on a number.

    Attributes:
        limit: The number exceeds the limit beyond this.
        clear_at: The number has returned at this; it lies on the good side of `limit`.
        windows: How many readings in a row a change takes, in either direction.
    """

    limit: float
    clear_at: float
    windows: int


@dataclass(frozen=True, slots=True)
class ThresholdState:
    """The state of a number.

    Attributes:
        raised: Whether it counts as beyond its limit.
        streak: How many readings in a row contradict that.
    """

    raised: bool = False
    streak: int = 0


def observe(state: ThresholdState, value: float | None, threshold: Threshold) -> tuple[ThresholdState, Change | None]:
    """Update the state of a number with one reading.

    Args:
        state: The state before.
        value: The reading; None changes nothing.
        threshold: The limit; an upper one if `clear_at` is at most `limit`, a lower one otherwise.

    Returns:
        The state after the reading, and the change if there was one.
    """
    if value is None:
        return state, None
    if not (_has_returned(value, threshold) if state.raised else _is_beyond(value, threshold)):
        return ThresholdState(raised=state.raised), None
    if state.streak + 1 < threshold.windows:
        return ThresholdState(raised=state.raised, streak=state.streak + 1), None
    return ThresholdState(raised=not state.raised), "cleared" if state.raised else "raised"


def _is_beyond(value: float, threshold: Threshold) -> bool:
    return value > threshold.limit if _is_upper(threshold) else value < threshold.limit


def _has_returned(value: float, threshold: Threshold) -> bool:
    return value <= threshold.clear_at if _is_upper(threshold) else value >= threshold.clear_at


def _is_upper(threshold: Threshold) -> bool:
    return threshold.clear_at <= threshold.limit
