"""A row of numbers as a row of blocks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_BLOCKS = "▁▂▃▄▅▆▇█"
_NOTHING = " "


def draw_sparkline(values: Sequence[float | None], *, width: int) -> str:
    """The last `width` values, each a block between nothing and the largest of them; None is a gap.

    Args:
        values: Not negative, the oldest first.
        width: Blocks at most.
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
