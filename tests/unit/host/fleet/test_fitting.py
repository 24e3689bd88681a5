"""The choice of columns for a width, and the line of a window, which follows it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from drupelet_host.fleet.fitting import ALWAYS, ColumnWidth, fit_columns
from drupelet_host.fleet.state import Fleet
from drupelet_host.fleet.window_line import format_window
from drupelet_shared.contract.topics import FleetTopics
from support.agent.fleets import model_window

NAME, LATENCY, MEMORY, PLAN = (
    ColumnWidth(10, ALWAYS, min_width=4),
    ColumnWidth(8, ALWAYS),
    ColumnWidth(6, 2),
    ColumnWidth(12, 1),
)


@pytest.mark.parametrize(
    ("available", "widths"),
    [
        (None, [10, 8, 6, 12]),
        (44, [10, 8, 6, 12]),
        (43, [10, 8, None, 12]),
        (36, [10, 8, None, 12]),
        (35, [10, 8, 6, None]),
        (22, [10, 8, None, None]),
        (20, [8, 8, None, None]),
        (16, [4, 8, None, None]),
        (5, [4, 8, None, None]),
    ],
)
def test_columns_are_dropped_by_priority_and_names_cut_last(available: int | None, widths: list[int | None]) -> None:
    assert fit_columns([NAME, LATENCY, MEMORY, PLAN], available, gap=2) == widths


def line(device: str, *, width: int | None, windows: int = 30) -> str:
    fleet = Fleet(FleetTopics())
    for number in range(windows):
        message = model_window(device, p50_ms=1.0 + number, ok=30, overloaded=10)
        fleet.receive(message.topic, message.payload, at_s=float(number))
    model = fleet.devices[device].models["digits"]
    assert model.telemetry is not None
    at = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
    return format_window(device, model.telemetry, list(model.windows), at=at, width=width)


def test_a_line_without_a_limit_has_every_part() -> None:
    parts = line("pi-7", width=None).split("  ")
    assert parts[:3] == ["09:30:00", "pi-7", "digits 1.2.0"]
    assert len(parts[-1]) == 20


@pytest.mark.parametrize("width", [80, 100, 120, 200])
@pytest.mark.parametrize("device", ["pi-7", "greenhouse-north-entrance-left-7"])
def test_the_numbers_are_on_a_line_of_every_width(width: int, device: str) -> None:
    shown = line(device, width=width)
    assert len(shown) <= width
    for part in ("4.0 req/s", "p50  30.0 ms", "p99  60.0 ms", "errors   25 %"):
        assert part in shown
    assert shown.startswith("09:30:00  pi-7  " if device == "pi-7" else "09:30:00  greenh")


def test_the_narrow_line_ends_with_the_latest_windows() -> None:
    assert line("pi-7", width=80).endswith("errors   25 %  ▇▇▇████")
    assert "max" not in line("pi-7", width=80)
    assert "max" in line("pi-7", width=100)
