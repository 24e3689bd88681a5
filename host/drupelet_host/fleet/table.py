"""The fleet as a printed table."""

from __future__ import annotations

from collections.abc import Iterable

from rich.table import Table

from drupelet_host.fleet.cells import COLUMNS
from drupelet_host.fleet.rows import Row


def make_table(rows: Iterable[Row]) -> Table:
    """Make a table with the columns of the live view."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in COLUMNS:
        table.add_column(column.heading, no_wrap=True, justify="right" if column.is_number else "left")
    for row in rows:
        table.add_row(*(column.show(row) for column in COLUMNS))
    return table
