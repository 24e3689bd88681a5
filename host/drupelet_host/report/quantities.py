"""Formats quantities for people: times, counts, factors, and the metric in its own unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

_MINUS = "\N{MINUS SIGN}"
# Metrics that are a share of the samples are shown in percent, and their differences in percentage points.
_SHARES = {"top1": "top-1 accuracy", "top5": "top-5 accuracy", "agreement": "agreement with the original"}
_LABELS = {**_SHARES, "fidelity": "fidelity to the original"}
_SECONDS_IN_MINUTE, _SECONDS_IN_HOUR = 60, 3600
# From this value on, a number is shown with one decimal less.
_TWO_DIGITS, _THREE_DIGITS = 10, 100
_LARGE_FACTOR = 2
_SHORTEST_S = 0.01
_COUNT_UNITS = ((10**9, " G"), (10**6, " M"), (10**3, " k"), (1, ""))
_BYTE_UNITS = ((10**9, " GB"), (10**6, " MB"), (10**3, " KB"), (1, " B"))


def format_ms(value_ms: float) -> str:
    """Format a latency with three or four significant digits: "0.184 ms", "12.34 ms"."""
    decimals = 3 if value_ms < _TWO_DIGITS else 2 if value_ms < _THREE_DIGITS else 1
    return f"{value_ms:.{decimals}f} ms"


def format_seconds(seconds: float) -> str:
    """Format a duration: "0.42 s", "12.3 s", "3 min 05 s", "1 h 12 min"."""
    if seconds < _SHORTEST_S:
        return f"under {_SHORTEST_S} s"
    if seconds < _SECONDS_IN_MINUTE:
        return f"{seconds:.2f} s" if seconds < _TWO_DIGITS else f"{seconds:.1f} s"
    if seconds < _SECONDS_IN_HOUR:
        minutes, rest = divmod(int(seconds), _SECONDS_IN_MINUTE)
        return f"{minutes} min {rest:02d} s"
    hours, rest = divmod(int(seconds), _SECONDS_IN_HOUR)
    return f"{hours} h {rest // _SECONDS_IN_MINUTE:02d} min"


def format_count(count: float) -> str:
    """Format a count with a unit prefix: "11.2 M", "196 k", "940"."""
    factor, unit = next((pair for pair in _COUNT_UNITS if count >= pair[0]), _COUNT_UNITS[-1])
    decimals = 1 if factor > 1 and count / factor < _THREE_DIGITS else 0
    return f"{count / factor:.{decimals}f}{unit}"


def format_percent(share: float) -> str:
    """Format a share from 0 to 1 as a whole percentage."""
    return f"{share * 100:.0f} %"


def format_factor(before: float, after: float, *, less: str, more: str) -> str:
    """Format the ratio of two values: "14.2x smaller".

    Args:
        before: The value before.
        after: The value after.
        less: The word for a decrease.
        more: The word for an increase.

    Returns:
        The text; "not comparable" unless both values are positive.
    """
    if before <= 0 or after <= 0:
        return "not comparable"
    factor, word = (before / after, less) if before >= after else (after / before, more)
    decimals = 2 if factor < _LARGE_FACTOR else 1 if factor < _THREE_DIGITS else 0
    shown = f"{factor:.{decimals}f}"
    return "the same" if shown == "1.00" else f"{shown}x {word}"


@dataclass(frozen=True, slots=True)
class MetricStyle:
    """The label and number format of a metric: percent for a share of samples, else a plain number."""

    label: str
    is_share: bool

    @classmethod
    def of(cls, metric: str) -> Self:
        """Return the style of a metric, by its name in the report."""
        return cls(_LABELS.get(metric, metric), metric in _SHARES)

    def show(self, value: float) -> str:
        """Format a value of the metric."""
        return f"{value * 100:.2f} %" if self.is_share else f"{value:.4f}"

    def show_size(self, difference: float) -> str:
        """Format the size of a difference, without its sign."""
        points = abs(difference) * 100
        return f"{points:.2f} points" if self.is_share else f"{abs(difference):.4f}"

    def show_change(self, difference: float) -> str:
        """Format a difference with its sign: "+0.21 points"."""
        size = self.show_size(difference)
        if not any(digit in size for digit in "123456789"):
            return "no change"
        return f"{'+' if difference > 0 else _MINUS}{size}"

    def tick(self, value: float) -> str:
        """Format a tick of the metric's axis."""
        return f"{round(value * 100, 6):g} %" if self.is_share else f"{value:g}"


def tick_bytes(value_bytes: float) -> str:
    """Format a tick of an axis of sizes."""
    return _scaled(value_bytes, _BYTE_UNITS) if value_bytes else "0"


def tick_ms(value_ms: float) -> str:
    """Format a tick of an axis of latencies."""
    return f"{value_ms:g} ms" if value_ms else "0"


def tick_count(count: float) -> str:
    """Format a tick of an axis of counts."""
    return _scaled(count, _COUNT_UNITS)


def tick_percent(share: float) -> str:
    """Format a tick of an axis of shares."""
    return f"{round(share * 100, 6):g} %"


def _scaled(value: float, units: tuple[tuple[int, str], ...]) -> str:
    factor, unit = next((pair for pair in units if value >= pair[0]), units[-1])
    return f"{value / factor:g}{unit}"
