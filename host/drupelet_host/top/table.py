"""The table of the fleet: rows come, go and move, and the cursor stays with its row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.widgets import DataTable
from textual.widgets.data_table import ColumnKey

from drupelet_host.fleet.cells import COLUMNS, Column
from drupelet_host.fleet.rows import Order, Row

_ARROWS = {False: "▲", True: "▼"}
# Light enough for the dark screen, also as the shades of grey that NO_COLOR makes of them.
_ON_DARK = {"red": "#ff7b72", "green": "#7ee787", "yellow": "#e3b341"}


class FleetTable(DataTable[Text]):
    """A row for each model on each device."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "select_cursor", "Details"),
        Binding("home", "scroll_top", "First", show=False),
        Binding("end", "scroll_bottom", "Last", show=False),
    ]

    def __init__(self) -> None:
        super().__init__(cursor_type="row", zebra_stripes=True, fixed_columns=1)
        self._shown: dict[tuple[str, str], Row] = {}
        self._order: Order | None = None

    def on_mount(self) -> None:
        """Make the columns; their keys are those rows are sorted by."""
        for column in COLUMNS:
            # Room for the arrow beside the heading.
            self.add_column(f"{column.heading}  ", key=column.key, width=column.width)

    @property
    def selected(self) -> Row | None:
        """The row under the cursor."""
        rows = list(self._shown.values())
        return rows[self.cursor_row] if 0 <= self.cursor_row < len(rows) else None

    def show_rows(self, rows: Sequence[Row], order: Order) -> None:
        """Show these rows, which are in that order; only what changed is drawn again where no row moved."""
        wanted = {row.key: row for row in rows}
        if order != self._order:
            # Whoever asks for an order wants to see what is first in it.
            self._mark_order(order)
            self._replace_rows(wanted, selected=None)
        elif list(wanted) != list(self._shown):
            self._replace_rows(wanted, selected=self.selected)
        else:
            self._update_cells(wanted)
        self._shown = wanted

    def _mark_order(self, order: Order) -> None:
        self._order = order
        for column in COLUMNS:
            arrow = _ARROWS[order.reverse] if column.key == order.key else " "
            label = Text(f"{column.heading} {arrow}", justify="right" if column.is_number else "left")
            self.columns[ColumnKey(column.key)].label = label

    def _update_cells(self, wanted: dict[tuple[str, str], Row]) -> None:
        for key, row in wanted.items():
            before = self._shown[key]
            if row == before:
                continue
            for column in COLUMNS:
                cell, old = _cell(column, row), _cell(column, before)
                if (cell.plain, cell.style) != (old.plain, old.style):
                    # Measuring a column again costs time for each of its rows.
                    self.update_cell("/".join(key), column.key, cell, update_width=column.width is None)

    def _replace_rows(self, wanted: dict[tuple[str, str], Row], *, selected: Row | None) -> None:
        index, left, top = self.cursor_row, self.scroll_x, self.scroll_y
        self.clear()
        for key, row in wanted.items():
            self.add_row(*(_cell(column, row) for column in COLUMNS), key="/".join(key))
        if selected is None:
            self.scroll_to(left, 0, animate=False, force=True)
            return
        if selected.key in wanted:
            index = list(wanted).index(selected.key)
        self.move_cursor(row=max(0, min(index, len(wanted) - 1)), scroll=False)
        self.scroll_to(left, top, animate=False, force=True)


def _cell(column: Column, row: Row) -> Text:
    cell = column.show(row)
    cell.style = " ".join(_ON_DARK.get(word, word) for word in str(cell.style).split())
    return cell
