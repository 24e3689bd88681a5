"""The application: the fleet's screen, to which those of devices are added."""

from __future__ import annotations

from textual.app import App

from drupelet_host.fleet.rows import Order
from drupelet_host.top.fleet_screen import FleetScreen
from drupelet_host.top.source import FleetSource


class TopApp(App[None]):
    """Every device on a broker, drawn again at an interval.

    Args:
        source: The fleet.
        broker: The broker's name, for people.
        order: What the rows are sorted by at first.
        text: The filter at first.
        interval_s: Between drawings.
    """

    TITLE = "drupelet top"
    ENABLE_COMMAND_PALETTE = False

    def __init__(
        self, source: FleetSource, *, broker: str, order: Order | None = None, text: str = "", interval_s: float = 1.0
    ) -> None:
        super().__init__()
        self._fleet = FleetScreen(source, broker=broker, order=order or Order(), text=text, interval_s=interval_s)

    def get_default_screen(self) -> FleetScreen:
        """The fleet's screen."""
        return self._fleet
