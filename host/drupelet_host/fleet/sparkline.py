"""A row of numbers as a row of blocks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_BLOCKS = "▁▂▃▄▅▆▇█"
_NOTHING = " "


def draw_sparkline(values: Sequence[float | None], *, width: int) -> str:
    """Draw the last `width` values as blocks from zero to the largest of them; None is a gap.

    Args:
        values: Non-negative values, the oldest first.
        width: The largest number of blocks.
    """
    shown = values[-width:]
    largest = max(_known(shown), default=0.0)
    return "".join(_NOTHING if value is None else _block(value, largest) for value in shown)


def _block(value: float, largest: float) -> str:
    if largest <= 0:
        return _BLOCKS[0]
    return _BLOCKS[min(len(_BLOCKS) - 1, int(value / largest * len(_BLOCKS)))]


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]
