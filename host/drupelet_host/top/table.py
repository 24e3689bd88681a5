"""The table of the fleet screen; the cursor stays on its row while rows appear, disappear and move."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.widgets import DataTable
from textual.widgets.data_table import ColumnKey

from drupelet_host.fleet.cells import Column, choose_columns, cut_cell
from drupelet_host.fleet.rows import Row, SortOrder

_ARROWS = {False: "▲", True: "▼"}
# Light enough for the dark screen, also as the shades of grey that NO_COLOR makes of them.
_ON_DARK = {"red": "#ff7b72", "green": "#7ee787", "yellow": "#e3b341", "cyan": "#79c0ff"}


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
        self._columns: list[tuple[Column, int]] = []

    @property
    def selected(self) -> Row | None:
        """The row under the cursor; None in an empty table."""
        rows = list(self._shown.values())
        return rows[self.cursor_row] if 0 <= self.cursor_row < len(rows) else None

    def show_rows(self, rows: Sequence[Row], order: SortOrder) -> None:
        """Show sorted rows in the columns that fit; while no row moves, only changed cells are redrawn.

        Args:
            rows: All rows, in their order.
            order: The order that they are in.
        """
        rows_by_key = {row.key: row for row in rows}
        columns = choose_columns(rows, self._available, gap=2 * self.cell_padding, sorted_by=order.key)
        # A new order is shown from its first row.
        selected = self.selected if order == self._order else None
        if columns != self._columns:
            self._replace_columns(columns)
            self._mark_order(order)
            self._replace_rows(rows_by_key, selected=selected)
        elif order != self._order:
            self._mark_order(order)
            self._replace_rows(rows_by_key, selected=None)
        elif list(rows_by_key) != list(self._shown):
            self._replace_rows(rows_by_key, selected=selected)
        else:
            self._update_cells(rows_by_key)
        self._shown = rows_by_key

    @property
    def _available(self) -> int:
        """The characters of a line beside the vertical scroll bar, which comes and goes with the number of rows."""
        return max(0, self.screen.size.width - self.styles.scrollbar_size_vertical)

    def _replace_columns(self, columns: list[tuple[Column, int]]) -> None:
        self.clear(columns=True)
        self._columns = columns
        for column, width in columns:
            self.add_column(column.heading, key=column.key, width=width)

    def _mark_order(self, order: SortOrder) -> None:
        self._order = order
        for column, width in self._columns:
            arrow = _ARROWS[order.reverse] if column.key == order.key else " "
            heading = column.heading if len(column.heading) == width else f"{column.heading} {arrow}"
            self.columns[ColumnKey(column.key)].label = Text(heading, justify="right" if column.is_number else "left")

    def _update_cells(self, rows_by_key: dict[tuple[str, str], Row]) -> None:
        for key, row in rows_by_key.items():
            before = self._shown[key]
            if row == before:
                continue
            for column, width in self._columns:
                cell, old = _cell(column, row, width), _cell(column, before, width)
                if (cell.plain, cell.style) != (old.plain, old.style):
                    self.update_cell("/".join(key), column.key, cell)

    def _replace_rows(self, rows_by_key: dict[tuple[str, str], Row], *, selected: Row | None) -> None:
        index, left, top = self.cursor_row, self.scroll_x, self.scroll_y
        self.clear()
        for key, row in rows_by_key.items():
            self.add_row(*(_cell(column, row, width) for column, width in self._columns), key="/".join(key))
        if selected is None:
            self.scroll_to(left, 0, animate=False, force=True)
            return
        if selected.key in rows_by_key:
            index = list(rows_by_key).index(selected.key)
        self.move_cursor(row=max(0, min(index, len(rows_by_key) - 1)), scroll=False)
        self.scroll_to(left, top, animate=False, force=True)


def _cell(column: Column, row: Row, width: int) -> Text:
    cell = cut_cell(column.show(row), column, width)
    cell.style = " ".join(_ON_DARK.get(word, word) for word in str(cell.style).split())
    return cell
