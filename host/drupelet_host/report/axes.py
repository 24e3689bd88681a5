"""Axes of a chart: map values to pixels and choose the ticks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

# From this ratio of largest to smallest value on, a linear axis would crowd the small values into one corner.
_LOGARITHMIC_FROM = 8.0
_LOGARITHMIC_PADDING = 0.06
_MOST_LOGARITHMIC_TICKS = 6

Format = Callable[[float], str]


@dataclass(frozen=True, slots=True)
class Tick:
    """One tick: pixels along the axis, and its text."""

    position: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """A straight axis.

    Attributes:
        low: The value at the first pixel.
        high: The value at the last pixel.
        start: The first pixel.
        end: The last pixel; smaller than `start` on a vertical axis.
        is_logarithmic: Whether the scale is logarithmic, which needs positive values.
        ticks: From low to high.
    """

    low: float
    high: float
    start: float
    end: float
    is_logarithmic: bool
    ticks: tuple[Tick, ...]

    def place(self, value: float) -> float:
        """Return the position of a value, to a tenth of a pixel; a value beyond the axis is placed at its end."""
        low, high, position = self.low, self.high, min(max(value, self.low), self.high)
        if self.is_logarithmic:
            low, high, position = math.log(low), math.log(high), math.log(position)
        return round(self.start + (position - low) / (high - low) * (self.end - self.start), 1)


def linear_axis(low: float, high: float, *, start: float, end: float, tick: Format, most_ticks: int = 6) -> Axis:
    """Make an axis with ticks at round values; an empty range is widened.

    Args:
        low: The smallest value.
        high: The largest value.
        start: The position of `low` in pixels.
        end: The position of `high` in pixels.
        tick: Formats the text of a tick.
        most_ticks: The maximum number of ticks.

    Returns:
        The axis.
    """
    if high <= low:
        low, high = low - max(abs(low) * 0.01, 1e-6), low + max(abs(low) * 0.01, 1e-6)
    bare = Axis(low=low, high=high, start=start, end=end, is_logarithmic=False, ticks=())
    return _with_ticks(bare, _round_values(low, high, most=most_ticks), tick)


def logarithmic_axis(low: float, high: float, *, start: float, end: float, tick: Format) -> Axis:
    """Make a logarithmic axis, slightly wider than its values, with ticks at 1, 2 and 5 of each decade.

    Args:
        low: The smallest value, above 0.
        high: The largest value.
        start: The position of the lower end in pixels.
        end: The position of the upper end in pixels.
        tick: Formats the text of a tick.

    Returns:
        The axis.
    """
    padding = (high / low) ** _LOGARITHMIC_PADDING if high > low else 2.0
    low, high = low / padding, high * padding
    bare = Axis(low=low, high=high, start=start, end=end, is_logarithmic=True, ticks=())
    return _with_ticks(bare, _decade_values(low, high), tick)


def cost_axis(values: list[float], *, start: float, end: float, tick: Format) -> Axis:
    """Make an axis for costs: from 0, or logarithmic where the largest is many times the smallest.

    Args:
        values: The costs, at least one.
        start: The position of the lower end in pixels.
        end: The position of the upper end in pixels.
        tick: Formats the text of a tick.

    Returns:
        The axis.
    """
    low, high = min(values), max(values)
    if low > 0 and high / low >= _LOGARITHMIC_FROM:
        return logarithmic_axis(low, high, start=start, end=end, tick=tick)
    return linear_axis(0.0, high * 1.05, start=start, end=end, tick=tick)


def _with_ticks(bare: Axis, values: list[float], tick: Format) -> Axis:
    return replace(bare, ticks=tuple(Tick(bare.place(value), tick(value)) for value in values))


def _round_values(low: float, high: float, *, most: int) -> list[float]:
    rough = (high - low) / most
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * magnitude for factor in (1, 2, 5, 10) if factor * magnitude >= rough)
    first, last = math.ceil(round(low / step, 6)), math.floor(round(high / step, 6))
    # Twelve digits: 3 * 0.1 is not 0.3.
    return [round(number * step, 12) for number in range(first, last + 1)]


def _decade_values(low: float, high: float) -> list[float]:
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for mantissas in ((1, 2, 5), (1, 3), (1,)):
        values = [float(f"{mantissa}e{exponent}") for exponent in exponents for mantissa in mantissas]
        inside = [value for value in values if low <= value <= high]
        if len(inside) <= _MOST_LOGARITHMIC_TICKS:
            break
    return inside[:: math.ceil(len(inside) / _MOST_LOGARITHMIC_TICKS)]
