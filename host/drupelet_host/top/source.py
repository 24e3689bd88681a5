"""Where the views get the fleet from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from drupelet_host.fleet.state import Fleet

Result = TypeVar("Result")


class FleetSource(Protocol):
    """A fleet that follows a broker."""

    @property
    def is_connected(self) -> bool:
        """Whether the broker is there now."""

    def read(self, view: Callable[[Fleet, float], Result]) -> Result:
        """What `view` makes of the fleet as of now, by the fleet's clock in seconds."""
