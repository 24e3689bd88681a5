"""The source of the fleet for the screens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from drupelet_host.fleet.state import Fleet

Result = TypeVar("Result")


class FleetSource(Protocol):
    """A fleet that follows a broker."""

    @property
    def is_connected(self) -> bool:
        """Whether the connection to the broker stands now."""

    @property
    def notice(self) -> str | None:
        """A fault of the broker that people should know of; None without one."""

    def read(self, view: Callable[[Fleet, float], Result]) -> Result:
        """Return what `view` computes from the fleet and the current time of its clock, in seconds."""
