"""The choice of the columns that fit a width, by their priority."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

ALWAYS = 0


@dataclass(frozen=True, slots=True)
class ColumnWidth:
    """What a column needs on a line.

    Attributes:
        width: The characters that its contents take.
        priority: The lower, the later it is dropped; `ALWAYS` is never dropped.
        min_width: What its contents may be cut to where the columns that are never dropped do not fit; None forbids it.
    """

    width: int
    priority: int
    min_width: int | None = None


def fit_columns(columns: Sequence[ColumnWidth], available: int | None, *, gap: int) -> list[int | None]:
    """Choose the columns that fit on a line.

    Args:
        columns: The columns in their order.
        available: The characters of the line; None is any number.
        gap: The characters that each column takes beyond its contents.

    Returns:
        The width of each column; None for one that is dropped.
    """
    if available is None:
        return [column.width for column in columns]
    widths: list[int | None] = [column.width if column.priority == ALWAYS else None for column in columns]
    left = available - sum(width + gap for width in widths if width is not None)
    if left < 0:
        return _cut_columns(columns, widths, missing=-left)
    for index in sorted(range(len(columns)), key=lambda each: columns[each].priority):
        if widths[index] is None and columns[index].width + gap <= left:
            widths[index] = columns[index].width
            left -= columns[index].width + gap
    return widths


def _cut_columns(columns: Sequence[ColumnWidth], widths: list[int | None], *, missing: int) -> list[int | None]:
    """Cut the widest column by a character until nothing is missing or nothing may be cut any more."""
    for _ in range(missing):
        rooms = {
            index: width
            for index, (column, width) in enumerate(zip(columns, widths, strict=True))
            if width is not None and column.min_width is not None and width > column.min_width
        }
        if not rooms:
            break
        widest = max(rooms, key=lambda index: rooms[index])
        widths[widest] = rooms[widest] - 1
    return widths


def shorten(name: str, width: int) -> str:
    """Cut a name in its middle: names of devices often differ at the end alone.

    Args:
        name: The name.
        width: The longest result, in characters; at least one.
    """
    if len(name) <= width:
        return name
    tail = (width - 1) // 2
    return f"{name[: width - 1 - tail]}…{name[len(name) - tail :]}"
