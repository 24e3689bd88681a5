"""The application of the live view; it starts with the fleet screen."""

from __future__ import annotations

from typing import ClassVar

from textual.app import App
from textual.binding import Binding, BindingType

from drupelet_host.fleet.rows import SortOrder
from drupelet_host.top.fleet_screen import FleetScreen
from drupelet_host.top.source import FleetSource
from drupelet_shared.exit_codes import EXIT_INTERRUPTED


class TopApp(App[None]):
    """The live view of all devices on a broker."""

    TITLE = "drupelet top"
    ENABLE_COMMAND_PALETTE = False
    # Before what an entry field does with it.
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+c", "interrupt", "Quit", show=False, priority=True)]

    def __init__(
        self,
        source: FleetSource,
        *,
        broker: str,
        order: SortOrder | None = None,
        text: str = "",
        interval_s: float = 1.0,
    ) -> None:
        """Make the application.

        Args:
            source: The fleet.
            broker: The broker's address for the title line.
            order: The sort order at the start; by device by default.
            text: The filter at the start.
            interval_s: The time between updates.
        """
        super().__init__()
        self._fleet = FleetScreen(source, broker=broker, order=order or SortOrder(), text=text, interval_s=interval_s)

    def action_interrupt(self) -> None:
        """End the view as Ctrl-C ends any other command."""
        self.exit(return_code=EXIT_INTERRUPTED)

    def get_default_screen(self) -> FleetScreen:
        """Return the fleet screen."""
        return self._fleet
