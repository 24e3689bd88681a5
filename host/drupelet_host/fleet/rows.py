"""The fleet as a table: a row for each model on each device, sorted and filtered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from drupelet_host.fleet.state import Device, Fleet, Model
from drupelet_shared.contract.messages import DeviceTelemetry, Plan
from drupelet_shared.errors import InvalidValueError

Connection = Literal["online", "silent", "offline", "unknown"]
_OCCURRED = "_occurred"


@dataclass(frozen=True, slots=True)
class Row:
    """One model on one device, or a device without models; None is what is not known now.

    Attributes:
        connection: `silent` is a device that is online and whose telemetry is long overdue.
        p50_ms: From arrival to reply, as `p99_ms`.
        error_rate: The share of requests that were not answered with a result, 0 to 1.
        throttling: The firmware's flags that are set now.
        throttled_before: Whether one was set since the device booted.
        memory_used: The share of the device's memory that is not available, 0 to 1.
    """

    device: str
    connection: Connection
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

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from every other row."""
        return self.device, self.model or ""

    def to_json(self) -> dict[str, Any]:
        """The row as JSON values."""
        return asdict(self)


SORT_KEYS = tuple(field.name for field in fields(Row) if field.name not in {"throttled_before", "error"})
# Of these the largest value is what a person looks for.
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
class Order:
    """What rows are sorted by: one of `SORT_KEYS`, and which way."""

    key: str = "device"
    reverse: bool = False

    @classmethod
    def by(cls, key: str) -> Order:
        """The order in which people want to see that key first.

        Raises:
            InvalidValueError: There is no such key.
        """
        if key not in SORT_KEYS:
            raise InvalidValueError(f"sort {key!r}: expected one of {', '.join(SORT_KEYS)}")
        return cls(key, reverse=key in _LARGEST_FIRST)

    def turned(self) -> Order:
        """The same key, the other way."""
        return Order(self.key, reverse=not self.reverse)


def make_rows(fleet: Fleet, *, now_s: float) -> list[Row]:
    """A row for each model on each device, by name; one for a device that has none."""
    return [
        row
        for name in sorted(fleet.devices)
        for row in _device_rows(fleet.devices[name], fleet.devices[name].current_telemetry(now_s), now_s)
    ]


def sort_rows(rows: Iterable[Row], order: Order) -> list[Row]:
    """Rows in an order; equal ones by name, what is not known last either way."""
    by_name = sorted(rows, key=lambda row: row.key)
    known = [row for row in by_name if getattr(row, order.key) is not None]
    unknown = [row for row in by_name if getattr(row, order.key) is None]
    # Python's sort is stable in reverse too, so equal rows stay in the order of their names.
    return sorted(known, key=lambda row: _comparable(getattr(row, order.key)), reverse=order.reverse) + unknown


def filter_rows(rows: Iterable[Row], text: str) -> list[Row]:
    """The rows in which every word of a text occurs, in whatever is text there; case does not matter."""
    words = text.lower().split()
    return [row for row in rows if all(word in _searched(row) for word in words)]


def describe_plan(plan: Plan | None) -> str | None:
    """A plan in short: "1 x 2 threads"."""
    if plan is None:
        return None
    return f"{plan.instances} x {plan.threads} thread{'' if plan.threads == 1 else 's'}"


def _device_rows(device: Device, telemetry: DeviceTelemetry | None, now_s: float) -> list[Row]:
    models: Sequence[Model | None] = [device.models[name] for name in sorted(device.models)] or [None]
    return [_make_row(device, model, telemetry, now_s) for model in models]


def _make_row(device: Device, model: Model | None, telemetry: DeviceTelemetry | None, now_s: float) -> Row:
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
    )


def _connection(device: Device, *, is_current: bool) -> Connection:
    if device.status is None:
        return "unknown"
    if not device.is_online:
        return "offline"
    # Nothing is overdue of a device that has told no numbers yet.
    return "online" if is_current or device.telemetry is None else "silent"


def _comparable(value: Any) -> Any:  # noqa: ANN401 - a field of a row
    if isinstance(value, str):
        return value.lower()
    return len(value) if isinstance(value, tuple) else value


def _searched(row: Row) -> str:
    texts = (row.device, row.connection, row.model, row.version, row.health, row.variant, row.plan, row.error)
    return " ".join([text for text in texts if text] + list(row.throttling or ())).lower()
