"""The screen with the details of one device."""

from __future__ import annotations

from typing import ClassVar

from rich.console import RenderableType
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import Footer, Static

from drupelet_host.fleet.details import render_device
from drupelet_host.fleet.state import Fleet
from drupelet_host.top.source import FleetSource


class DeviceScreen(Screen[None]):
    """A device's numbers, models and events, updated at an interval."""

    DEFAULT_CSS = """
    DeviceScreen #title { height: 1; padding: 0 1; text-style: bold; }
    DeviceScreen VerticalScroll { height: 1fr; padding: 1 2; }
    DeviceScreen #details { height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,backspace,enter", "app.pop_screen", "Back to the fleet"),
        Binding("q", "app.quit", "Quit"),
    ]

    def __init__(self, device: str, source: FleetSource, *, interval_s: float) -> None:
        """Make the screen.

        Args:
            device: The device's name.
            source: The fleet.
            interval_s: The time between updates.
        """
        super().__init__()
        self._device = device
        self._source = source
        self._interval_s = interval_s

    def compose(self) -> ComposeResult:
        """Lay out the title, the details and the keys."""
        yield Static(Text(f"device {self._device}"), id="title")
        with VerticalScroll():
            yield Static(id="details")
        yield Footer()

    def on_mount(self) -> None:
        """Start the updates."""
        self.draw_device()
        self.set_interval(self._interval_s, self.draw_device)

    def draw_device(self) -> None:
        """Draw the device's current state."""
        self.query_one("#details", Static).update(self._source.read(self._show))

    def _show(self, fleet: Fleet, now_s: float) -> RenderableType:
        device = fleet.devices.get(self._device)
        return render_device(device, now_s) if device else Text("This device has been removed from the broker.")
