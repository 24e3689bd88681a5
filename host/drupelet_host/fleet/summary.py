"""Counts over the whole fleet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from drupelet_host.fleet.rows import Row, RowCache
from drupelet_host.fleet.state import Fleet


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts over all devices.

    Attributes:
        devices: Devices that have announced themselves.
        online: Devices that are online.
        models: Models on all devices.
        ready: Models that answer, on devices that are online.
        requests_per_s: The sum over all models with a current window.
        alerts: Raised alerts.
        malformed: Messages that could not be parsed.
    """

    devices: int
    online: int
    models: int
    ready: int
    requests_per_s: float
    alerts: int
    malformed: int

    def to_json(self) -> dict[str, Any]:
        """Return the counts as JSON values."""
        return asdict(self)


def summarize(fleet: Fleet, rows: Sequence[Row]) -> Summary:
    """Count over a fleet; `rows` are all of its rows."""
    devices = fleet.devices.values()
    return Summary(
        devices=len(devices),
        online=sum(device.is_online for device in devices),
        models=sum(len(device.models) for device in devices),
        ready=sum(row.health == "ready" and row.connection in {"online", "silent"} for row in rows),
        requests_per_s=sum(row.requests_per_s or 0.0 for row in rows),
        alerts=sum(len(device.alerts) for device in devices),
        malformed=fleet.malformed,
    )


@dataclass(frozen=True, slots=True)
class Overview:
    """A fleet at one moment.

    Attributes:
        rows: All rows.
        summary: The counts.
    """

    rows: tuple[Row, ...]
    summary: Summary

    @classmethod
    def of(cls, fleet: Fleet, now_s: float) -> Overview:
        """Return the overview of a fleet at a time of its clock."""
        return OverviewReader().read(fleet, now_s)


class OverviewReader:
    """Reads overviews of one fleet again and again, in the time that what has changed takes."""

    def __init__(self) -> None:
        """Make a reader that has read nothing."""
        self._rows = RowCache()

    def read(self, fleet: Fleet, now_s: float) -> Overview:
        """Return the overview of the fleet at a time of its clock."""
        rows = self._rows.make_rows(fleet, now_s=now_s)
        return Overview(tuple(rows), summarize(fleet, rows))
