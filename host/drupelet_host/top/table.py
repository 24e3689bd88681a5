"""The table of the fleet screen; the cursor stays on its row while rows appear, disappear and move."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.widgets import DataTable
from textual.widgets.data_table import ColumnKey

from drupelet_host.fleet.cells import COLUMNS, Column
from drupelet_host.fleet.rows import Row, SortOrder

_ARROWS = {False: "▲", True: "▼"}
# Light enough for the dark screen, also as the shades of grey that NO_COLOR makes of them.
_ON_DARK = {"red": "#ff7b72", "green": "#7ee787", "yellow": "#e3b341"}


class FleetTable(DataTable[Text]):
    """A table with a row for each model on each device."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "select_cursor", "Details"),
        Binding("home", "scroll_top", "First", show=False),
        Binding("end", "scroll_bottom", "Last", show=False),
    ]

    def __init__(self) -> None:
        """Make an empty table."""
        super().__init__(cursor_type="row", zebra_stripes=True, fixed_columns=1)
        self._shown: dict[tuple[str, str], Row] = {}
        self._order: SortOrder | None = None

    def on_mount(self) -> None:
        """Add the columns; their keys are the sort keys."""
        for column in COLUMNS:
            # Room for the arrow beside the heading.
            self.add_column(f"{column.heading}  ", key=column.key, width=column.width)

    @property
    def selected(self) -> Row | None:
        """The row under the cursor; None in an empty table."""
        rows = list(self._shown.values())
        return rows[self.cursor_row] if 0 <= self.cursor_row < len(rows) else None

    def show_rows(self, rows: Sequence[Row], order: SortOrder) -> None:
        """Show sorted rows; while no row moves, only changed cells are redrawn.

        Args:
            rows: All rows, in their order.
            order: The order that they are in.
        """
        rows_by_key = {row.key: row for row in rows}
        if order != self._order:
            # A new order is shown from its first row.
            self._mark_order(order)
            self._replace_rows(rows_by_key, selected=None)
        elif list(rows_by_key) != list(self._shown):
            self._replace_rows(rows_by_key, selected=self.selected)
        else:
            self._update_cells(rows_by_key)
        self._shown = rows_by_key

    def _mark_order(self, order: SortOrder) -> None:
        self._order = order
        for column in COLUMNS:
            arrow = _ARROWS[order.reverse] if column.key == order.key else " "
            label = Text(f"{column.heading} {arrow}", justify="right" if column.is_number else "left")
            self.columns[ColumnKey(column.key)].label = label

    def _update_cells(self, rows_by_key: dict[tuple[str, str], Row]) -> None:
        for key, row in rows_by_key.items():
            before = self._shown[key]
            if row == before:
                continue
            for column in COLUMNS:
                cell, old = _cell(column, row), _cell(column, before)
                if (cell.plain, cell.style) != (old.plain, old.style):
                    # Measuring a column again costs time for each of its rows.
                    self.update_cell("/".join(key), column.key, cell, update_width=column.width is None)

    def _replace_rows(self, rows_by_key: dict[tuple[str, str], Row], *, selected: Row | None) -> None:
        index, left, top = self.cursor_row, self.scroll_x, self.scroll_y
        self.clear()
        for key, row in rows_by_key.items():
            self.add_row(*(_cell(column, row) for column in COLUMNS), key="/".join(key))
        if selected is None:
            self.scroll_to(left, 0, animate=False, force=True)
            return
        if selected.key in rows_by_key:
            index = list(rows_by_key).index(selected.key)
        self.move_cursor(row=max(0, min(index, len(rows_by_key) - 1)), scroll=False)
        self.scroll_to(left, top, animate=False, force=True)


def _cell(column: Column, row: Row) -> Text:
    cell = column.show(row)
    cell.style = " ".join(_ON_DARK.get(word, word) for word in str(cell.style).split())
    return cell
