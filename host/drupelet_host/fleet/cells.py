"""The cells of the fleet table in a terminal; colours only repeat what the text says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rich.text import Text

from drupelet_host.fleet.printable import printable
from drupelet_host.fleet.rows import Row

UNKNOWN = "–"  # noqa: RUF001 - the typographic dash
_STYLES = {
    "online": "green",
    "ready": "green",
    "starting": "yellow",
    "silent": "yellow",
    "evicted": "yellow",
    "offline": "red",
    "failed": "red",
}
_SHORT_FLAGS = {
    "under_voltage": "voltage",
    "frequency_capped": "capped",
    "throttled": "throttled",
    "soft_temperature_limit": "soft limit",
}
# Above the soft limit of a Raspberry Pi, where its firmware lowers the clock.
_HOT_CELSIUS = 80.0


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the fleet table.

    Attributes:
        key: The sort key, one of `SORT_KEYS`.
        heading: The heading.
        show: Returns the cell of a row.
        width: The fixed width in characters; None fits the contents.
        is_number: Whether the cells are aligned to the right.
    """

    key: str
    heading: str
    show: Callable[[Row], Text]
    width: int | None = None
    is_number: bool = False


def format_ms(value: float | None) -> str:
    """Format milliseconds with three digits: "0.123 ms", "12.3 ms"."""
    if value is None:
        return UNKNOWN
    decimals = 3 if value < 1 else 2 if value < 10 else 1 if value < 100 else 0  # noqa: PLR2004 - powers of ten
    return f"{value:.{decimals}f} ms"


def format_share(value: float | None) -> str:
    """Format a share of 0 to 1 in percent, with a decimal between 0 and 10 %."""
    if value is None:
        return UNKNOWN
    return f"{value:.1%}".replace("%", " %") if 0 < value < 0.1 else f"{value:.0%}".replace("%", " %")  # noqa: PLR2004


def format_rate(value: float | None) -> str:
    """Format a number per second."""
    return UNKNOWN if value is None else f"{value:.1f}"


def format_throttling(row: Row) -> str:
    """Format the throttling flags: those set now, or whether one was set since the device booted."""
    if row.throttling is None:
        return UNKNOWN
    if row.throttling:
        return ", ".join(_SHORT_FLAGS.get(flag, flag) for flag in row.throttling)
    return "earlier" if row.throttled_before else "no"


def _state(text: str | None) -> Text:
    return Text(text or UNKNOWN, style=_STYLES.get(text or "", ""))


def _words(text: str | None) -> Text:
    return Text(printable(text or UNKNOWN))


def _number(text: str, *, is_bad: bool = False) -> Text:
    return Text(text, style="bold red" if is_bad else "", justify="right")


def _throttling(row: Row) -> Text:
    return Text(format_throttling(row), style="bold red" if row.throttling else "")


def _temperature(row: Row) -> Text:
    value = row.temperature_celsius
    if value is None:
        return _number(UNKNOWN)
    return _number(f"{value:.1f} °C", is_bad=value >= _HOT_CELSIUS)


def _count(row: Row) -> Text:
    return _number(str(row.alerts), is_bad=row.alerts > 0)


def _errors(row: Row) -> Text:
    return _number(format_share(row.error_rate), is_bad=bool(row.error_rate))


COLUMNS = (
    Column("device", "device", lambda row: Text(row.device, style="bold" if row.connection == "online" else "dim")),
    Column("connection", "status", lambda row: _state(row.connection), width=9),
    Column("model", "model", lambda row: _words(row.model)),
    Column("health", "health", lambda row: _state(row.health), width=8),
    Column("variant", "variant", lambda row: _words(row.variant)),
    Column("plan", "plan", lambda row: _words(row.plan), width=13),
    Column("requests_per_s", "req/s", lambda row: _number(format_rate(row.requests_per_s)), width=8, is_number=True),
    Column("p50_ms", "p50", lambda row: _number(format_ms(row.p50_ms)), width=9, is_number=True),
    Column("p99_ms", "p99", lambda row: _number(format_ms(row.p99_ms)), width=9, is_number=True),
    Column("error_rate", "errors", _errors, width=8, is_number=True),
    Column("temperature_celsius", "temp", _temperature, width=8, is_number=True),
    Column("memory_used", "memory", lambda row: _number(format_share(row.memory_used)), width=8, is_number=True),
    Column("throttling", "throttled", _throttling, width=11),
    Column("alerts", "alerts", _count, width=8, is_number=True),
)
