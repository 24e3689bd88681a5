"""The live view, driven by its keys; its screen is what is looked at."""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import Awaitable, Callable

import pytest
from textual.pilot import Pilot

from drupelet_host.top.app import TopApp
from drupelet_host.top.fleet_screen import MAX_ROWS
from drupelet_host.top.table import FleetTable
from drupelet_shared.exit_codes import EXIT_INTERRUPTED
from fakes.fleet_source import FakeSource
from support.agent.fleets import SimulatedFleet, birth, device_window, limit_crossed, model_state, model_window

SIZE = (170, 24)
# Of the pictures that Rich draws.
CELL_WIDTH = 12.2
Script = Callable[[Pilot[None], FakeSource], Awaitable[None]]


def small_fleet() -> FakeSource:
    return FakeSource(
        [
            *(birth("pi-a"), model_state("pi-a"), device_window("pi-a"), model_window("pi-a", p50_ms=9.0)),
            *(birth("pi-b"), model_state("pi-b"), device_window("pi-b"), model_window("pi-b", p50_ms=30.0, ok=7)),
            *(birth("pi-c", state="offline"), model_state("pi-c", "detector")),
            limit_crossed("pi-b"),
        ]
    )


def play(source: FakeSource, script: Script, *, size: tuple[int, int] = SIZE, interval_s: float = 3600.0) -> None:
    async def run() -> None:
        app = TopApp(source, broker="broker.local:1883", interval_s=interval_s)
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            await script(pilot, source)

    asyncio.run(run())


def screen(pilot: Pilot[None]) -> list[str]:
    """The lines of the screen, from its picture, which leaves cells without text out."""
    picture = pilot.app.export_screenshot()
    rows: dict[float, str] = {}
    texts = re.findall(r'<text[^>]*? x="([\d.]+)" y="([\d.]+)"[^>]*>([^<]*)</text>', picture)
    for x, y, text in sorted(texts, key=lambda found: (float(found[1]), float(found[0]))):
        before = rows.get(float(y), "")
        rows[float(y)] = before.ljust(round(float(x) / CELL_WIDTH)) + html.unescape(text).replace("\xa0", " ")
    return list(rows.values())


def devices(pilot: Pilot[None]) -> list[str]:
    return [found[0] for line in screen(pilot) if (found := re.findall(r"^ ?(pi-\w+)", line))]


def test_the_screen_shows_counts_and_a_row_for_each_model() -> None:
    async def script(pilot: Pilot[None], _: FakeSource) -> None:
        lines = screen(pilot)
        text = "\n".join(lines)
        assert (
            "2 of 3 devices online · 2 of 3 models ready · 4.7 requests/s · 1 alert · broker broker.local:1883" in text
        )
        assert devices(pilot) == ["pi-a", "pi-b", "pi-c"]
        row = next(line for line in lines if "pi-b" in line)
        assert row.split()[:4] == ["pi-b", "online", "digits", "ready"]
        assert "30.0 ms" in row
        assert "60.0 ms" in row
        assert "offline" in next(line for line in lines if "pi-c" in line)

    play(small_fleet(), script)


@pytest.mark.parametrize("width", [80, 100, 120])
def test_requests_percentiles_and_errors_are_on_every_screen(width: int) -> None:
    async def script(pilot: Pilot[None], _: FakeSource) -> None:
        lines = screen(pilot)
        assert all(len(line.rstrip()) <= width for line in lines)
        heading = next(line for line in lines if "req/s" in line).split()
        assert [word for word in heading if word in {"req/s", "p50", "p99", "errors"}] == [
            "req/s",
            "p50",
            "p99",
            "errors",
        ]
        assert {"health", "trend"} <= set(heading)
        row = next(line for line in lines if line.lstrip().startswith("pi-b"))
        assert re.search(r"0\.7\s+30\.0 ms\s+60\.0 ms\s+\S+\s+0 %", row), row
        assert ("51.6 °C" in row) == (width > 80)

    play(small_fleet(), script, size=(width, 24))


def test_long_names_are_cut_before_numbers_are_dropped() -> None:
    device, model = "greenhouse-north-entrance-left-7", "garment-classifier-large"

    async def script(pilot: Pilot[None], _: FakeSource) -> None:
        row = next(line for line in screen(pilot) if "…" in line)
        shown = row.split()[0].partition("…")
        assert device.startswith(shown[0])
        assert device.endswith(shown[2])
        assert shown[2]
        assert "8.00 ms" in row
        assert "0 %" in row

    messages = [birth(device), model_state(device, model), device_window(device), model_window(device, model)]
    play(FakeSource(messages), script, size=(80, 24))


@pytest.mark.parametrize("width", [50, 60, 70, 80, 90])
def test_the_line_of_counts_has_whole_parts_alone(width: int) -> None:
    whole = ["2 of 3 devices online", "2 of 3 models ready", "4.7 requests/s", "1 alert", "1 of 3 rows"]

    async def script(pilot: Pilot[None], _: FakeSource) -> None:
        await pilot.press("slash", *"off", "enter")
        parts = screen(pilot)[0].strip().split(" · ")
        assert parts[:2] == whole[:2]
        assert set(parts) <= {*whole, "broker broker.local:1883"}

    play(small_fleet(), script, size=(width, 24))


def test_ctrl_c_ends_the_view_as_it_ends_every_command_also_from_the_filter() -> None:
    async def script(pilot: Pilot[None], _: FakeSource) -> None:
        await pilot.press("slash", "o", "ctrl+c")
        await pilot.pause()
        assert pilot.app.return_code == EXIT_INTERRUPTED

    play(small_fleet(), script)


def test_the_column_to_sort_by_is_shown_on_a_narrow_screen() -> None:
    async def script(pilot: Pilot[None], _: FakeSource) -> None:
        assert "temp" not in "\n".join(screen(pilot))
        await pilot.press(*"ssssssssss")
        assert "temp ▼" in "\n".join(screen(pilot))
        assert "errors" in "\n".join(screen(pilot))

    play(small_fleet(), script, size=(80, 24))


def test_a_wider_window_has_more_columns() -> None:
    async def script(pilot: Pilot[None], _: FakeSource) -> None:
        assert "throttled" not in "\n".join(screen(pilot))
        await pilot.resize_terminal(170, 24)
        await pilot.pause()
        assert "throttled" in "\n".join(screen(pilot))

    play(small_fleet(), script, size=(80, 24))


def test_s_and_r_sort_and_a_click_on_a_heading_does() -> None:
    async def script(pilot: Pilot[None], _: FakeSource) -> None:
        for _step in range(7):
            await pilot.press("s")
        assert "p50 ▼" in "\n".join(screen(pilot))
        assert devices(pilot) == ["pi-b", "pi-a", "pi-c"]
        await pilot.press("r")
        assert devices(pilot) == ["pi-a", "pi-b", "pi-c"]
        await pilot.press("S", "S", "S", "S", "S", "S", "S")
        assert "device ▲" in "\n".join(screen(pilot))
        await pilot.click(FleetTable, offset=(3, 0))
        assert devices(pilot) == ["pi-c", "pi-b", "pi-a"]

    play(small_fleet(), script)


def test_a_slash_filters_enter_keeps_and_escape_clears() -> None:
    async def script(pilot: Pilot[None], _: FakeSource) -> None:
        await pilot.press("slash", "o", "f", "f")
        assert devices(pilot) == ["pi-c"]
        await pilot.press("enter")
        assert devices(pilot) == ["pi-c"]
        assert "1 of 3 rows" in "\n".join(screen(pilot))
        await pilot.press("s")
        assert "status ▲" in "\n".join(screen(pilot))
        await pilot.press("escape")
        assert len(devices(pilot)) == 3

    play(small_fleet(), script)


def test_a_filter_that_nothing_passes_says_so() -> None:
    async def script(pilot: Pilot[None], _: FakeSource) -> None:
        await pilot.press("slash", "x", "x")
        assert "No row contains 'xx'." in "\n".join(screen(pilot))

    play(small_fleet(), script)


def test_enter_opens_the_device_under_the_cursor_and_escape_comes_back() -> None:
    async def script(pilot: Pilot[None], source: FakeSource) -> None:
        await pilot.press("down", "enter")
        await pilot.pause()
        text = "\n".join(screen(pilot))
        assert "device pi-b" in text
        assert "lowest p99 of those that fit" in text
        source.take([birth("pi-b", state="offline")])
        await pilot.press("escape")
        assert len(devices(pilot)) == 3

    play(small_fleet(), script, size=(170, 60))


def test_the_cursor_stays_with_its_row_while_rows_come_and_go() -> None:
    async def script(pilot: Pilot[None], source: FakeSource) -> None:
        await pilot.press("down")
        table = pilot.app.screen.query_one(FleetTable)
        source.take([birth("pi-0"), birth("pi-1")])
        pilot.app.screen.draw_fleet()
        await pilot.pause()
        assert table.selected is not None
        assert (table.selected.device, table.cursor_row) == ("pi-b", 3)
        source.take([birth("pi-9")])
        pilot.app.screen.draw_fleet()
        assert table.selected.device == "pi-b"

    play(small_fleet(), script)


def test_new_numbers_are_drawn_at_the_interval_unless_it_is_paused() -> None:
    async def until(pilot: Pilot[None], text: str) -> None:
        for _ in range(200):
            if text in "\n".join(screen(pilot)):
                return
            await pilot.pause(0.05)
        raise AssertionError(f"the screen never had {text!r}")

    async def script(pilot: Pilot[None], source: FakeSource) -> None:
        source.take([model_window("pi-a", p50_ms=123.0)])
        await until(pilot, "123 ms")
        await pilot.press("p")
        await until(pilot, "PAUSED")
        source.take([model_window("pi-a", p50_ms=456.0)])
        await pilot.pause(0.3)
        assert "456 ms" not in "\n".join(screen(pilot))
        await pilot.press("p")
        await until(pilot, "456 ms")

    play(small_fleet(), script, interval_s=0.05)


def test_a_fault_of_the_broker_stands_beside_the_counts() -> None:
    async def script(pilot: Pilot[None], source: FakeSource) -> None:
        source.notice = "the broker is slow"
        pilot.app.screen.draw_fleet()
        await pilot.pause()
        assert "the broker is slow" in "\n".join(screen(pilot))

    play(small_fleet(), script)


def test_a_lost_broker_is_said() -> None:
    async def script(pilot: Pilot[None], source: FakeSource) -> None:
        source.is_connected = False
        pilot.app.screen.draw_fleet()
        await pilot.pause()
        assert "NOT CONNECTED to broker.local:1883, reconnecting" in "\n".join(screen(pilot))

    play(small_fleet(), script)


def test_an_empty_fleet_is_said() -> None:
    async def script(pilot: Pilot[None], _: FakeSource) -> None:
        assert "No device has announced itself." in "\n".join(screen(pilot))
        await pilot.press("enter")

    play(FakeSource(), script)


def test_markup_and_control_characters_of_a_device_are_text() -> None:
    async def script(pilot: Pilot[None], source: FakeSource) -> None:
        source.take([model_state("pi-a", health="failed", error="[red]no[/] \x1b[2J room")])
        await pilot.press("enter")
        await pilot.pause()
        assert "[red]no[/] �[2J room" in "\n".join(screen(pilot))

    play(small_fleet(), script, size=(170, 60))


def test_a_hundred_devices_are_drawn_and_the_last_is_reached() -> None:
    simulated = SimulatedFleet(100)

    async def script(pilot: Pilot[None], source: FakeSource) -> None:
        assert pilot.app.screen.query_one(FleetTable).row_count == 150
        await pilot.press("end")
        await pilot.pause()
        source.take(simulated.tell())
        pilot.app.screen.draw_fleet()
        await pilot.pause()
        assert "pi-099" in devices(pilot)

    play(FakeSource([*simulated.introduce(), *simulated.tell()]), script)


@pytest.mark.slow
def test_a_large_fleet_has_the_first_rows_of_its_order_and_says_so() -> None:
    messages = [message for number in range(MAX_ROWS + 20) for message in (birth(f"pi-{number:04d}"),)]

    async def script(pilot: Pilot[None], _: FakeSource) -> None:
        table = pilot.app.screen.query_one(FleetTable)
        assert table.row_count == MAX_ROWS
        lines = "\n".join(screen(pilot))
        assert f"{MAX_ROWS + 20} of {MAX_ROWS + 20} devices online" in lines
        assert f"the first {MAX_ROWS} are shown" in lines
        await pilot.press("slash", *"0519", "enter")
        assert devices(pilot) == ["pi-0519"]

    play(FakeSource(messages), script, size=(170, 24))
