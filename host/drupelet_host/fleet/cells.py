"""The cells of the fleet table in a terminal; colours only repeat what the text says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.text import Text

from drupelet_host.fleet.fitting import ALWAYS, ColumnWidth, fit_columns, shorten
from drupelet_host.fleet.printable import printable
from drupelet_host.fleet.rows import Row
from drupelet_host.fleet.sparkline import draw_sparkline

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
_TREND_WIDTH, _MAX_TREND_WIDTH = 7, 20


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the fleet table.

    Attributes:
        key: The name of the row's field; the sort key, if it is one of `SORT_KEYS`.
        heading: The heading.
        show: Returns the cell of a row.
        priority: The lower, the later the column is dropped on a narrow screen; `ALWAYS` is never dropped.
        width: The fixed width in characters; None fits the contents.
        min_width: What the contents may be cut to; None forbids it.
        is_number: Whether the cells are aligned to the right.
    """

    key: str
    heading: str
    show: Callable[[Row], Text]
    priority: int
    width: int | None = None
    min_width: int | None = None
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


def cut_cell(cell: Text, column: Column, width: int) -> Text:
    """Cut a cell to a width.

    Args:
        cell: The cell; it may be changed in place.
        column: The cell's column.
        width: The width in characters.

    Returns:
        The latest values of a trend; of a name that was cut both ends; the beginning of any other cell.
    """
    if column.show is _trend:
        return Text(cell.plain[-width:], style=cell.style)
    if column.min_width is not None:
        return Text(shorten(cell.plain, width), style=cell.style)
    cell.truncate(width, overflow="ellipsis")
    return cell


def _trend(row: Row) -> Text:
    return Text(draw_sparkline(row.p99_trend_ms, width=_MAX_TREND_WIDTH), style="cyan")


# The numbers that say whether a model works are always there; the narrowest screen, 80 columns, has room for the health
# and the trend too.
COLUMNS = (
    Column(
        "device",
        "device",
        lambda row: Text(row.device, style="bold" if row.connection == "online" else "dim"),
        ALWAYS,
        min_width=8,
    ),
    Column("connection", "status", lambda row: _state(row.connection), 4, width=8),
    Column("model", "model", lambda row: _words(row.model), ALWAYS, min_width=7),
    Column("health", "health", lambda row: _state(row.health), 2, width=8),
    Column("variant", "variant", lambda row: _words(row.variant), 8),
    Column("plan", "plan", lambda row: _words(row.plan), 10, width=13),
    Column(
        "requests_per_s", "req/s", lambda row: _number(format_rate(row.requests_per_s)), ALWAYS, width=7, is_number=True
    ),
    Column("p50_ms", "p50", lambda row: _number(format_ms(row.p50_ms)), ALWAYS, width=8, is_number=True),
    Column("p99_ms", "p99", lambda row: _number(format_ms(row.p99_ms)), ALWAYS, width=8, is_number=True),
    Column("p99_trend_ms", "trend", _trend, 3, width=_TREND_WIDTH),
    Column("error_rate", "errors", _errors, ALWAYS, width=8, is_number=True),
    Column("temperature_celsius", "temp", _temperature, 5, width=8, is_number=True),
    Column("memory_used", "memory", lambda row: _number(format_share(row.memory_used)), 9, width=8, is_number=True),
    Column("throttling", "throttled", _throttling, 7, width=11),
    Column("alerts", "alerts", _count, 6, width=8, is_number=True),
)
_SORTED_PRIORITY = 1


def choose_columns(
    rows: Sequence[Row], available: int | None, *, gap: int, sorted_by: str | None = None
) -> list[tuple[Column, int]]:
    """Choose the columns that fit on a line, in their order.

    Args:
        rows: The rows that will be shown.
        available: The characters of the line; None is any number.
        gap: The characters that each column takes beyond its contents.
        sorted_by: The key of a column that is dropped after all others.

    Returns:
        The columns and the width of each.
    """
    needs = [
        ColumnWidth(
            width=_needed_width(column, rows),
            priority=min(column.priority, _SORTED_PRIORITY) if column.key == sorted_by else column.priority,
            min_width=column.min_width,
        )
        for column in COLUMNS
    ]
    widths = fit_columns(needs, available, gap=gap)
    chosen = [(column, width) for column, width in zip(COLUMNS, widths, strict=True) if width is not None]
    unused = None if available is None else available - sum(width + gap for _, width in chosen)
    return [(column, _widen_trend(width, unused) if column.show is _trend else width) for column, width in chosen]


def _widen_trend(width: int, unused: int | None) -> int:
    return _MAX_TREND_WIDTH if unused is None else min(_MAX_TREND_WIDTH, width + max(0, unused))


def _needed_width(column: Column, rows: Sequence[Row]) -> int:
    if column.width is not None:
        return column.width
    # Room for the arrow of the sort order beside the heading.
    return max(len(column.heading) + 2, *(column.show(row).cell_len for row in rows), 0)
