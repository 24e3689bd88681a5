"""The fleet as table rows, one for each model on each device, sorted and filtered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from operator import attrgetter
from typing import Any, Literal

from drupelet_host.fleet.state import Device, DeviceModel, Fleet
from drupelet_shared.contract.messages import DeviceStatus, DeviceTelemetry, Plan
from drupelet_shared.errors import InvalidValueError

ConnectionState = Literal["online", "silent", "offline", "unknown"]
_OCCURRED = "_occurred"
_TREND_POINTS = 20


@dataclass(frozen=True, slots=True)
class Row:
    """One model on one device, or a device without models; None stands for a value that is not known now.

    Attributes:
        device: The device's name.
        connection: The device's connection; `silent` is online with telemetry that is long overdue.
        model: The model's name.
        version: The active version.
        health: The model's health, as the device announces it.
        variant: The variant that runs.
        plan: The plan in short.
        requests_per_s: Requests that ended in the latest window, per second.
        p50_ms: The median latency from arrival to reply.
        p99_ms: The 99th percentile of the same.
        error_rate: The share of requests that were not answered with a result, 0 to 1.
        temperature_celsius: The processor's temperature.
        throttling: The firmware's throttling flags that are set now.
        throttled_before: Whether a throttling flag was set since the device booted.
        memory_used: The share of the device's memory that is not available, 0 to 1.
        alerts: The number of raised alerts of the device.
        error: The model's error.
        labels: The device's labels, each as "name=value".
        p99_trend_ms: The 99th percentile in the latest points of the device's history, or in the latest windows of a
            device without one; the oldest first, None is a time without requests.
    """

    device: str
    connection: ConnectionState
    model: str | None = None
    version: str | None = None
    health: str | None = None
    variant: str | None = None
    plan: str | None = None
    requests_per_s: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    error_rate: float | None = None
    temperature_celsius: float | None = None
    throttling: tuple[str, ...] | None = None
    throttled_before: bool | None = None
    memory_used: float | None = None
    alerts: int = 0
    error: str | None = None
    labels: tuple[str, ...] = ()
    p99_trend_ms: tuple[float | None, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        """Device and model, which identify the row."""
        return self.device, self.model or ""

    def to_json(self) -> dict[str, Any]:
        """Return the row as JSON values."""
        return asdict(self)


_NAMES = attrgetter("key")
_NOT_SORTED = frozenset({"throttled_before", "error", "labels", "p99_trend_ms"})
SORT_KEYS = tuple(field.name for field in fields(Row) if field.name not in _NOT_SORTED)
# Keys that are sorted in descending order first, because their largest values matter most.
_LARGEST_FIRST = frozenset(
    {
        "requests_per_s",
        "p50_ms",
        "p99_ms",
        "error_rate",
        "temperature_celsius",
        "throttling",
        "memory_used",
        "alerts",
    }
)


@dataclass(frozen=True, slots=True)
class SortOrder:
    """A sort order of rows.

    Attributes:
        key: One of `SORT_KEYS`.
        reverse: Whether the order is descending.
    """

    key: str = "device"
    reverse: bool = False

    @classmethod
    def by(cls, key: str) -> SortOrder:
        """Return the default order for a key.

        Raises:
            InvalidValueError: The key is not one of `SORT_KEYS`.
        """
        if key not in SORT_KEYS:
            raise InvalidValueError(f"sort {key!r}: expected one of {', '.join(SORT_KEYS)}")
        return cls(key, reverse=key in _LARGEST_FIRST)

    def reversed(self) -> SortOrder:
        """Return the reverse order of the same key."""
        return SortOrder(self.key, reverse=not self.reverse)


def make_rows(fleet: Fleet, *, now_s: float) -> list[Row]:
    """Return a row for each model on each device, by name, and one for a device without models."""
    return [
        row
        for name in sorted(fleet.devices)
        for row in _device_rows(fleet.devices[name], fleet.devices[name].current_telemetry(now_s), now_s)
    ]


@dataclass(frozen=True, slots=True)
class _KeptRows:
    device: Device
    changes: int
    until_s: float
    rows: list[Row]

    def are_current(self, device: Device, now_s: float) -> bool:
        return self.device is device and self.changes == device.changes and now_s <= self.until_s


class RowCache:
    """The rows of one fleet, of which only those are made anew that a message or the time has changed.

    In a large fleet making all of them takes longer than everything else of a view.
    """

    def __init__(self) -> None:
        """Make an empty cache."""
        self._kept: dict[str, _KeptRows] = {}

    def make_rows(self, fleet: Fleet, *, now_s: float) -> list[Row]:
        """Return what `make_rows` returns for the same fleet and a time that never goes back."""
        devices, before = fleet.devices, self._kept
        self._kept = {name: _keep_rows(devices[name], before.get(name), now_s) for name in sorted(devices)}
        return [row for kept in self._kept.values() for row in kept.rows]


def _keep_rows(device: Device, kept: _KeptRows | None, now_s: float) -> _KeptRows:
    if kept is not None and kept.are_current(device, now_s):
        return kept
    rows = _device_rows(device, device.current_telemetry(now_s), now_s)
    return _KeptRows(device, device.changes, device.next_stale_s(now_s), rows)


def sort_rows(rows: Iterable[Row], order: SortOrder) -> list[Row]:
    """Sort rows; equal ones by name, unknown values last in either direction."""
    by_name = sorted(rows, key=_NAMES)
    known = [row for row in by_name if getattr(row, order.key) is not None]
    unknown = [row for row in by_name if getattr(row, order.key) is None]
    # Python's sort is stable in reverse as well, so equal rows stay in the order of their names.
    return sorted(known, key=lambda row: _comparable(getattr(row, order.key)), reverse=order.reverse) + unknown


def filter_rows(rows: Iterable[Row], text: str) -> list[Row]:
    """Return the rows whose texts contain every word of `text`, ignoring case."""
    words = text.lower().split()
    return [row for row in rows if all(word in _searched(row) for word in words)]


def describe_plan(plan: Plan | None) -> str | None:
    """Describe a plan in short: "1 x 2 threads"."""
    if plan is None:
        return None
    return f"{plan.instances} x {plan.threads} thread{'' if plan.threads == 1 else 's'}"


def describe_labels(status: DeviceStatus | None) -> tuple[str, ...]:
    """Describe a device's labels in the order of their names: "site=berlin"."""
    labels = status.labels if status is not None else None
    return tuple(f"{name}={value}" for name, value in sorted(labels.items())) if labels else ()


def _device_rows(device: Device, telemetry: DeviceTelemetry | None, now_s: float) -> list[Row]:
    models: Sequence[DeviceModel | None] = [device.models[name] for name in sorted(device.models)] or [None]
    return [_make_row(device, model, telemetry, now_s) for model in models]


def _make_row(device: Device, model: DeviceModel | None, telemetry: DeviceTelemetry | None, now_s: float) -> Row:
    state = model.state if model else None
    window = device.current_window(model.name, now_s) if model else None
    flags = telemetry.throttling if telemetry else None
    return Row(
        device=device.name,
        connection=_connection(device, is_current=telemetry is not None),
        model=model.name if model else None,
        version=state.version if state else None,
        health=state.health if state else None,
        variant=state.variant if state else None,
        plan=describe_plan(state.plan) if state else None,
        requests_per_s=window.requests_per_s if window else None,
        p50_ms=window.p50_ms if window else None,
        p99_ms=window.p99_ms if window else None,
        error_rate=window.error_rate if window else None,
        temperature_celsius=telemetry.temperature_celsius if telemetry else None,
        throttling=None if flags is None else tuple(flag for flag in flags if not flag.endswith(_OCCURRED)),
        throttled_before=None if flags is None else any(flag.endswith(_OCCURRED) for flag in flags),
        memory_used=1 - telemetry.memory_available_bytes / max(1, telemetry.memory_total_bytes) if telemetry else None,
        alerts=len(device.alerts),
        error=state.error if state else None,
        labels=describe_labels(device.status),
        p99_trend_ms=_trend(device, model) if model and (window or _is_awaited(device, model)) else (),
    )


def _is_awaited(device: Device, model: DeviceModel) -> bool:
    """Whether no window has arrived yet; the retained history is there at once."""
    return device.is_online and not model.windows


def _trend(device: Device, model: DeviceModel) -> tuple[float | None, ...]:
    history = device.model_history(model.name)
    values = [window.p99_ms for window in model.windows] if history is None else history.p99_ms
    return tuple(values[-_TREND_POINTS:])


def _connection(device: Device, *, is_current: bool) -> ConnectionState:
    if device.status is None:
        return "unknown"
    if not device.is_online:
        return "offline"
    # A device that has never sent telemetry is not overdue.
    return "online" if is_current or device.telemetry is None else "silent"


def _comparable(value: Any) -> Any:  # noqa: ANN401 - a field of a row
    if isinstance(value, str):
        return value.lower()
    return len(value) if isinstance(value, tuple) else value


def _searched(row: Row) -> str:
    texts = (row.device, row.connection, row.model, row.version, row.health, row.variant, row.plan, row.error)
    return " ".join([text for text in texts if text] + list(row.throttling or ()) + list(row.labels)).lower()
