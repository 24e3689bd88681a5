"""The screen with the fleet: a line of counts, a filter and the table of models."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import DataTable, Footer, Input, Static

from drupelet_host.fleet.cells import COLUMNS
from drupelet_host.fleet.rows import SORT_KEYS, SortOrder, filter_rows, sort_rows
from drupelet_host.fleet.summary import Overview, OverviewReader
from drupelet_host.top.device_screen import DeviceScreen
from drupelet_host.top.source import FleetSource
from drupelet_host.top.table import FleetTable

MAX_ROWS = 500
_BETWEEN = " · "
# Drawing the table takes at most one part in this many of a core; the line of counts is drawn at each interval.
_DRAWING_SHARE = 10
# The order of the columns on the screen.
_KEYS = [column.key for column in COLUMNS if column.key in SORT_KEYS]


class FleetScreen(Screen[None]):
    """All devices on a broker, updated at an interval."""

    # Textual reads a screen's CSS when it is pushed, which never happens to the first screen.
    DEFAULT_CSS = """
    FleetScreen #summary { height: 1; padding: 0 1; text-style: bold; }
    FleetScreen #filter { height: 1; border: none; padding: 0 1; }
    FleetScreen #empty { height: auto; padding: 1 2; color: $text-muted; }
    FleetScreen FleetTable { height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "Filter"),
        Binding("s", "sort(1)", "Sort by next"),
        Binding("S", "sort(-1)", "by previous", show=False),
        Binding("r", "reverse", "Reverse"),
        Binding("p", "pause", "Pause"),
        Binding("escape", "clear_filter", "Clear filter", show=False),
        Binding("q", "app.quit", "Quit"),
    ]

    def __init__(self, source: FleetSource, *, broker: str, order: SortOrder, text: str, interval_s: float) -> None:
        """Make the screen.

        Args:
            source: The fleet.
            broker: The broker's address for the line of counts.
            order: The sort order at the start.
            text: The filter at the start.
            interval_s: The time between updates.
        """
        super().__init__()
        self._source = source
        self._broker = broker
        self._order = order
        self._text = text
        self._interval_s = interval_s
        self._overviews = OverviewReader()
        self._is_paused = False
        self._next_draw_s = 0.0

    def compose(self) -> ComposeResult:
        """Lay out the line of counts, the filter, the table and the keys."""
        yield Static(id="summary")
        yield Input(
            self._text,
            placeholder="filter: words that rows must contain; Enter applies them, Escape clears them",
            id="filter",
        )
        yield FleetTable()
        yield Static(id="empty")
        yield Footer()

    def on_mount(self) -> None:
        """Start the updates."""
        self._leave_filter()
        self.draw_fleet()
        self.set_interval(self._interval_s, self._tick)

    def on_resize(self) -> None:
        """Choose the columns for the new width."""
        if self.is_mounted:
            self.draw_fleet()

    def draw_fleet(self) -> None:
        """Draw the fleet's current state."""
        overview = self._source.read(self._overviews.read)
        self._draw_summary(overview, shown=self._draw_table(overview))

    def _draw_table(self, overview: Overview) -> int:
        """Draw the rows that pass the filter in their order; returns how many they are."""
        rows = sort_rows(filter_rows(overview.rows, self._text), self._order)
        # Each row of a table costs time at every update; the filter and the order bring any row into reach.
        self.query_one(FleetTable).show_rows(rows[:MAX_ROWS], self._order)
        empty = self.query_one("#empty", Static)
        empty.display = not rows
        empty.update(Text(f"No row contains {self._text!r}." if overview.rows else "No device has announced itself."))
        return len(rows)

    def _draw_summary(self, overview: Overview, *, shown: int) -> None:
        self.query_one("#summary", Static).update(self._summary(overview, shown=shown))

    def action_details(self) -> None:
        """Open the device of the row under the cursor."""
        row = self.query_one(FleetTable).selected
        if row is not None:
            self.app.push_screen(DeviceScreen(row.device, self._source, interval_s=self._interval_s))

    def action_sort(self, step: int) -> None:
        """Sort by the column to the right, or to the left."""
        self._order = SortOrder.by(_KEYS[(_KEYS.index(self._order.key) + step) % len(_KEYS)])
        self.draw_fleet()

    def action_reverse(self) -> None:
        """Reverse the order."""
        self._order = self._order.reversed()
        self.draw_fleet()

    def action_pause(self) -> None:
        """Pause or resume the updates; messages are received meanwhile."""
        self._is_paused = not self._is_paused
        self.draw_fleet()

    def action_filter(self) -> None:
        """Open the filter."""
        entry = self.query_one("#filter", Input)
        entry.display = True
        # Focused at once, so that the next key already goes to it.
        self.set_focus(entry)

    def action_clear_filter(self) -> None:
        """Show all rows again."""
        entry = self.query_one("#filter", Input)
        entry.value = ""
        self._leave_filter()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Apply the filter while it is typed."""
        self._text = event.value
        self.draw_fleet()

    def on_input_submitted(self) -> None:
        """Apply the filter and return to the table."""
        self._leave_filter()

    def on_data_table_row_selected(self) -> None:
        """Open the details on Enter or on a second click on a row."""
        self.action_details()

    def on_data_table_header_selected(self, event: DataTable.HeaderSelected) -> None:
        """Sort by a column whose heading is clicked; another click reverses the order."""
        key = str(event.column_key.value)
        if key not in _KEYS:
            return
        self._order = self._order.reversed() if key == self._order.key else SortOrder.by(key)
        self.draw_fleet()

    def _leave_filter(self) -> None:
        entry = self.query_one("#filter", Input)
        entry.display = bool(entry.value)
        self.set_focus(self.query_one(FleetTable))

    def _tick(self) -> None:
        if self._is_paused:
            return
        if time.monotonic() >= self._next_draw_s:
            start_s = time.thread_time()
            self.draw_fleet()
            self.call_after_refresh(self._set_pace, start_s)
        else:
            overview = self._source.read(self._overviews.read)
            shown = len(filter_rows(overview.rows, self._text))
            self._draw_summary(overview, shown=shown)

    def _set_pace(self, start_s: float) -> None:
        """Choose the time of the next drawing by the processor time that this one has taken up to now."""
        self._next_draw_s = time.monotonic() + (_DRAWING_SHARE - 1) * (time.thread_time() - start_s)

    def _summary(self, overview: Overview, *, shown: int) -> Text:
        counts = overview.summary
        # What matters most comes first: a narrow screen leaves out what does not fit.
        parts = [] if self._source.is_connected else [f"NOT CONNECTED to {self._broker}, reconnecting"]
        parts += [
            f"{counts.online} of {counts.devices} devices online",
            f"{counts.ready} of {counts.models} models ready",
            f"{counts.requests_per_s:.1f} requests/s",
        ]
        if counts.alerts:
            parts.append(f"{counts.alerts} alert{'' if counts.alerts == 1 else 's'}")
        if counts.malformed:
            parts.append(f"{counts.malformed} unreadable messages")
        if shown < len(overview.rows):
            parts.append(f"{shown} of {len(overview.rows)} rows")
        if shown > MAX_ROWS:
            parts.append(f"the first {MAX_ROWS} are shown: filter with /, sort with s")
        if self._is_paused:
            parts.append("PAUSED")
        if self._source.notice is not None:
            parts.append(self._source.notice)
        if self._source.is_connected:
            parts.append(f"broker {self._broker}")
        return Text(_join(parts, width=self.size.width - 2), no_wrap=True, overflow="ellipsis")


def _join(parts: Sequence[str], *, width: int) -> str:
    """Join the parts that fit a line: half of one would say something else."""
    line = parts[0]
    for part in parts[1:]:
        if len(line) + len(_BETWEEN) + len(part) <= width:
            line += _BETWEEN + part
    return line
