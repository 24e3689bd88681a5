"""The live view of the fleet: counts, a filter, and the table; everything about one device is behind a key."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import DataTable, Footer, Input, Static

from drupelet_host.fleet.cells import COLUMNS
from drupelet_host.fleet.rows import Order, filter_rows, sort_rows
from drupelet_host.fleet.summary import Overview
from drupelet_host.top.device_screen import DeviceScreen
from drupelet_host.top.source import FleetSource
from drupelet_host.top.table import FleetTable

_KEYS = [column.key for column in COLUMNS]


class FleetScreen(Screen[None]):
    """Every device on a broker, drawn again at an interval."""

    # Textual reads the CSS of a screen when it is pushed, which the first one never is.
    DEFAULT_CSS = """
    FleetScreen #summary { height: 1; padding: 0 1; text-style: bold; }
    FleetScreen #filter { height: 1; border: none; padding: 0 1; }
    FleetScreen #nothing { height: auto; padding: 1 2; color: $text-muted; }
    FleetScreen FleetTable { height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "Filter"),
        Binding("s", "sort(1)", "Sort by next"),
        Binding("S", "sort(-1)", "by previous", show=False),
        Binding("r", "turn", "Reverse"),
        Binding("p", "pause", "Pause"),
        Binding("escape", "clear_filter", "Clear filter", show=False),
        Binding("q", "app.quit", "Quit"),
    ]

    def __init__(self, source: FleetSource, *, broker: str, order: Order, text: str, interval_s: float) -> None:
        super().__init__()
        self._source = source
        self._broker = broker
        self._order = order
        self._text = text
        self._interval_s = interval_s
        self._is_paused = False

    def compose(self) -> ComposeResult:
        """One line of counts, the filter when it is wanted, the table, the keys."""
        yield Static(id="summary")
        yield Input(
            self._text,
            placeholder="filter: words that rows must have; Enter keeps them, Escape clears them",
            id="filter",
        )
        yield FleetTable()
        yield Static(id="nothing")
        yield Footer()

    def on_mount(self) -> None:
        """Start drawing."""
        self._leave_filter()
        self.draw_fleet()
        self.set_interval(self._interval_s, self._tick)

    def draw_fleet(self) -> None:
        """Show the fleet as of now."""
        overview = self._source.read(Overview.of)
        rows = sort_rows(filter_rows(overview.rows, self._text), self._order)
        self.query_one(FleetTable).show_rows(rows, self._order)
        self.query_one("#summary", Static).update(self._summary(overview, shown=len(rows)))
        nothing = self.query_one("#nothing", Static)
        nothing.display = not rows
        nothing.update(Text(f"No row has {self._text!r}." if overview.rows else "No device has told of itself."))

    def action_details(self) -> None:
        """Open the device of the row under the cursor."""
        row = self.query_one(FleetTable).selected
        if row is not None:
            self.app.push_screen(DeviceScreen(row.device, self._source, interval_s=self._interval_s))

    def action_sort(self, step: int) -> None:
        """Sort by the column to the right, or to the left."""
        self._order = Order.by(_KEYS[(_KEYS.index(self._order.key) + step) % len(_KEYS)])
        self.draw_fleet()

    def action_turn(self) -> None:
        """Turn the order round."""
        self._order = self._order.turned()
        self.draw_fleet()

    def action_pause(self) -> None:
        """Stop drawing, or go on; messages are taken either way."""
        self._is_paused = not self._is_paused
        self.draw_fleet()

    def action_filter(self) -> None:
        """Open the filter."""
        entry = self.query_one("#filter", Input)
        entry.display = True
        # At once, so that the next key belongs to it already.
        self.set_focus(entry)

    def action_clear_filter(self) -> None:
        """Show all rows again."""
        entry = self.query_one("#filter", Input)
        entry.value = ""
        self._leave_filter()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter while the person types."""
        self._text = event.value
        self.draw_fleet()

    def on_input_submitted(self) -> None:
        """Keep the filter and go back to the table."""
        self._leave_filter()

    def on_data_table_row_selected(self) -> None:
        """Enter, or a second click on a row."""
        self.action_details()

    def on_data_table_header_selected(self, event: DataTable.HeaderSelected) -> None:
        """A click on a heading sorts by it; another turns it round."""
        key = str(event.column_key.value)
        self._order = self._order.turned() if key == self._order.key else Order.by(key)
        self.draw_fleet()

    def _leave_filter(self) -> None:
        entry = self.query_one("#filter", Input)
        entry.display = bool(entry.value)
        self.set_focus(self.query_one(FleetTable))

    def _tick(self) -> None:
        if not self._is_paused:
            self.draw_fleet()

    def _summary(self, overview: Overview, *, shown: int) -> Text:
        counts = overview.summary
        parts = [
            f"broker {self._broker}" + ("" if self._source.is_connected else " NOT CONNECTED, trying again"),
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
        if self._is_paused:
            parts.append("PAUSED")
        return Text(" · ".join(parts), no_wrap=True, overflow="ellipsis")
