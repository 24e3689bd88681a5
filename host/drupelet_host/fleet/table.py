"""The fleet as a printed table."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from drupelet_host.fleet.cells import COLUMNS, choose_columns, cut_cell
from drupelet_host.fleet.rows import Row

_GAP = 2


def make_table(rows: Sequence[Row], *, width: int | None = None) -> Table:
    """Make a table with the columns of the live view; those that do not fit `width` are named below it."""
    columns = choose_columns(rows, width, gap=_GAP)
    shown = {column.key for column, _ in columns}
    missing = [column.heading for column in COLUMNS if column.key not in shown]
    caption = f"In a wider window: {', '.join(missing)}." if missing else None
    table = Table(box=None, padding=(0, _GAP, 0, 0), caption=caption, caption_justify="left")
    for column, fitted in columns:
        table.add_column(column.heading, no_wrap=True, justify="right" if column.is_number else "left", width=fitted)
    for row in rows:
        table.add_row(*(cut_cell(column.show(row), column, fitted) for column, fitted in columns))
    return table
