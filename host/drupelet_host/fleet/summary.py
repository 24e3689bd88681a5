"""The fleet in one line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from drupelet_host.fleet.rows import Row, make_rows
from drupelet_host.fleet.state import Fleet


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts over all devices.

    Attributes:
        ready: Models that answer, on devices that are online.
        requests_per_s: Over all models with a current window.
        malformed: Messages that could not be read.
    """

    devices: int
    online: int
    models: int
    ready: int
    requests_per_s: float
    alerts: int
    malformed: int

    def to_json(self) -> dict[str, Any]:
        """The counts as JSON values."""
        return asdict(self)


def summarize(fleet: Fleet, rows: Sequence[Row]) -> Summary:
    """Count; `rows` are all of the fleet's."""
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
    """A fleet at one moment: every row, and the counts."""

    rows: tuple[Row, ...]
    summary: Summary

    @classmethod
    def of(cls, fleet: Fleet, now_s: float) -> Overview:
        """A fleet as of now."""
        rows = make_rows(fleet, now_s=now_s)
        return cls(tuple(rows), summarize(fleet, rows))
