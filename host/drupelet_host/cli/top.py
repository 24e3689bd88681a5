"""`drupelet top`: all devices on a broker, live, once, or as JSON."""

from __future__ import annotations

import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from drupelet_host.cli.broker_options import BrokerCommand, broker_address, broker_options
from drupelet_host.cli.numbers import seconds
from drupelet_host.cli.output import console, print_json, print_json_line, progress_console
from drupelet_shared.exit_codes import EXIT_INTERRUPTED

if TYPE_CHECKING:
    from drupelet_host.fleet.feed import FleetFeed
    from drupelet_host.fleet.rows import SortOrder
    from drupelet_host.fleet.state import Fleet
    from drupelet_host.fleet.summary import Overview, OverviewReader

# Retained messages arrive within this time of the subscription, telemetry within a window.
_MIN_WAIT_S = 1.0
_POLL_S = 0.1
_WIDTH = 400


@click.command(cls=BrokerCommand)
@broker_options
@click.option("--once", is_flag=True, help="Print the table once and exit.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print JSON: one document with --once, otherwise one line per interval."
)
@click.option("--sort", default="device", show_default=True, metavar="KEY", help="Key of the JSON rows to sort by.")
@click.option("--reverse", is_flag=True, help="Reverse the order.")
@click.option("--filter", "text", default="", metavar="WORDS", help="Show only the rows that contain all these words.")
@click.option(
    "--interval",
    metavar="SECONDS",
    type=seconds(minimum=0.1),
    default=1.0,
    show_default=True,
    help="Time between updates.",
)
@click.option(
    "--wait",
    type=seconds(),
    metavar="SECONDS",
    default=12.0,
    show_default=True,
    help="With --once: longest wait for telemetry, which devices send every 10 s by default.",
)
def top(
    *,
    broker: str,
    password_file: Path | None,
    ca_file: Path | None,
    cert_file: Path | None,
    key_file: Path | None,
    prefix: str,
    once: bool,
    as_json: bool,
    sort: str,
    reverse: bool,
    text: str,
    interval: float,
    wait: float,
) -> None:
    """Show all devices on the broker: their models, plans, latency, errors, temperature and memory.

    A narrow window drops columns; requests/s, p50, p99 and errors are always there, and the column to sort by. The
    trend is the p99 of the latest windows, relative to the largest of them.

    Keys: Enter opens a device, / filters, s and S choose the column to sort by, r reverses the order, p pauses, q
    and Ctrl-C quit.

    Example: drupelet top --broker mqtt://broker.local

    Example: drupelet top --once --json | jq '.rows[] | select(.error_rate > 0)'
    """
    # Imported here because they import numpy and Textual, which `drupelet --help` does without.
    from drupelet_host.fleet.feed import FleetFeed  # noqa: PLC0415
    from drupelet_host.fleet.rows import SortOrder  # noqa: PLC0415
    from drupelet_host.fleet.summary import OverviewReader  # noqa: PLC0415
    from drupelet_shared.errors import InvalidValueError  # noqa: PLC0415

    address = broker_address(
        broker, password_file=password_file, ca_file=ca_file, cert_file=cert_file, key_file=key_file
    )
    try:
        order = SortOrder.by(sort).reversed() if reverse else SortOrder.by(sort)
    except InvalidValueError as error:
        raise click.UsageError(str(error)) from error
    if not (once or as_json or sys.stdout.isatty()):
        raise click.UsageError("standard output is not a terminal: use --once or --json")
    if console.is_dumb_terminal and not (once or as_json):
        raise click.UsageError("a terminal with TERM=dumb cannot show the live view: use --once or --json")
    with FleetFeed(address, prefix=prefix) as feed:
        if once:
            _wait_for_telemetry(feed, wait_s=wait)
            _print_once(_select(feed, OverviewReader(), order, text), as_json=as_json)
            if not as_json and (notice := feed.check_broker()) is not None:
                click.echo(f"note: {notice}", err=True)
        elif as_json:
            _print_lines(feed, OverviewReader(), order, text, interval_s=interval)
        else:
            from drupelet_host.top.app import TopApp  # noqa: PLC0415 - only the live view needs Textual

            # Beside the view, which need not wait for it.
            threading.Thread(target=feed.check_broker, daemon=True).start()
            view = TopApp(feed, broker=str(address), order=order, text=text, interval_s=interval)
            view.run()
            if view.return_code == EXIT_INTERRUPTED:
                raise KeyboardInterrupt


def _select(feed: FleetFeed, reader: OverviewReader, order: SortOrder, text: str) -> Overview:
    from drupelet_host.fleet.rows import filter_rows, sort_rows  # noqa: PLC0415 - as above
    from drupelet_host.fleet.summary import Overview  # noqa: PLC0415 - as above

    overview = feed.read(reader.read)
    return Overview(tuple(sort_rows(filter_rows(overview.rows, text), order)), overview.summary)


def _print_once(overview: Overview, *, as_json: bool) -> None:
    if as_json:
        print_json(_document(overview))
        return
    from drupelet_host.fleet.table import make_table  # noqa: PLC0415 - as above

    # A file or a pipe gets every column, whatever the width of a window.
    if console.is_terminal:
        console.print(make_table(overview.rows, width=console.width))
    else:
        Console(highlight=False, width=_WIDTH).print(make_table(overview.rows))
    counts = overview.summary
    progress_console.print(
        f"{counts.online} of {counts.devices} devices online, {counts.ready} of {counts.models} models ready, "
        f"{counts.requests_per_s:.1f} requests/s, {counts.alerts} alerts"
    )


def _print_lines(feed: FleetFeed, reader: OverviewReader, order: SortOrder, text: str, *, interval_s: float) -> None:
    while True:
        time.sleep(interval_s)
        print_json_line(_document(_select(feed, reader, order, text)))


def _document(overview: Overview) -> dict[str, Any]:
    return {
        "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "summary": overview.summary.to_json(),
        "rows": [row.to_json() for row in overview.rows],
    }


def _wait_for_telemetry(feed: FleetFeed, *, wait_s: float) -> None:
    start = time.monotonic()
    with progress_console.status("waiting for telemetry") as status:
        while (passed := time.monotonic() - start) < wait_s:
            missing, devices = feed.read(_missing)
            if missing == 0 and devices > 0 and passed >= _MIN_WAIT_S:
                return
            status.update(f"waiting for telemetry of {missing} of {devices} devices")
            time.sleep(_POLL_S)


def _missing(fleet: Fleet, now_s: float) -> tuple[int, int]:
    """Return how many online devices have not sent telemetry yet, and how many devices there are."""
    missing = sum(
        device.current_telemetry(now_s) is None
        or any(
            model.state is not None
            and model.state.health == "ready"
            and device.current_window(model.name, now_s) is None
            for model in device.models.values()
        )
        for device in fleet.devices.values()
        if device.is_online
    )
    return missing, len(fleet.devices)
