"""`drupelet watch`: a model's telemetry, a line for each window as it comes."""

from __future__ import annotations

import queue
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from drupelet_host.cli.broker_options import broker_address, broker_options
from drupelet_host.cli.output import console, print_json_line
from drupelet_host.fleet.printable import printable
from drupelet_shared.contract.messages import ModelTelemetry
from drupelet_shared.contract.topics import DEFAULT_PREFIX

if TYPE_CHECKING:
    from drupelet_host.fleet.state import Fleet, Window
    from drupelet_shared.contract.topics import Announcement

_SPARKLINE_WIDTH = 20
# A wait without end on a queue could not be interrupted.
_POLL_S = 0.5


@click.command()
@click.argument("model")
@click.option("--device", envvar="DRUPELET_DEVICE", help="Only this device; every one that has the model by default.")
@broker_options
@click.option("--prefix", default=DEFAULT_PREFIX, show_default=True, help="First levels of the topics.")
@click.option("--count", type=click.IntRange(min=1), help="End after this many windows.")
@click.option("--json", "as_json", is_flag=True, help="Print each window as a line of JSON.")
def watch(
    *,
    model: str,
    device: str | None,
    broker: str,
    password_file: Path | None,
    ca_file: Path | None,
    cert_file: Path | None,
    key_file: Path | None,
    prefix: str,
    count: int | None,
    as_json: bool,
) -> None:
    """Show MODEL's requests, latency and errors: a line for each telemetry window, until Ctrl-C.

    The bars are the p99 of the latest windows, each against the largest of them.

    Example: drupelet watch digits --device pi-7
    """
    # Imported here because it imports numpy, which `drupelet --help` does without.
    from drupelet_host.fleet.feed import FleetFeed  # noqa: PLC0415

    address = broker_address(
        broker, password_file=password_file, ca_file=ca_file, cert_file=cert_file, key_file=key_file
    )
    lines: queue.SimpleQueue[tuple[str, ModelTelemetry, list[Window]]] = queue.SimpleQueue()

    def take(found: Announcement) -> None:
        """Runs on the network thread, so that no window is missed when several come at once."""
        if found.kind == "model_telemetry" and found.model == model and device in {None, found.device}:
            lines.put((found.device, *feed.read(lambda fleet, _: _latest(fleet, found))))

    with FleetFeed(address, prefix=prefix, on_change=take) as feed:
        if not as_json:
            click.echo(f"waiting for telemetry of {model}{f' on {device}' if device else ''}", err=True)
        shown = 0
        while count is None or shown < count:
            try:
                name, telemetry, windows = lines.get(timeout=_POLL_S)
            except queue.Empty:
                continue
            shown += 1
            if as_json:
                print_json_line({"at": _now(), "device": name, **telemetry.model_dump(exclude_none=True)})
            else:
                console.print(_line(name, telemetry, windows), soft_wrap=True, markup=False)


def _latest(fleet: Fleet, found: Announcement) -> tuple[ModelTelemetry, list[Window]]:
    assert found.model is not None, "a model's telemetry names it"
    model = fleet.devices[found.device].models[found.model]
    assert model.telemetry is not None, "it has just come"
    return model.telemetry, list(model.windows)


def _line(device: str, telemetry: ModelTelemetry, windows: list[Window]) -> str:
    from drupelet_host.fleet.cells import show_ms, show_rate, show_share  # noqa: PLC0415 - as above
    from drupelet_host.fleet.sparkline import draw_sparkline  # noqa: PLC0415 - as above

    latest = windows[-1]
    largest_ms = telemetry.total.max_ms if telemetry.total else None
    parts = (
        f"{datetime.now().astimezone():%H:%M:%S}",
        device,
        printable(f"{telemetry.model} {telemetry.version}"),
        f"{show_rate(latest.requests_per_s):>7} req/s",
        f"p50 {show_ms(latest.p50_ms):>8}",
        f"p90 {show_ms(latest.p90_ms):>8}",
        f"p99 {show_ms(latest.p99_ms):>8}",
        f"max {show_ms(largest_ms):>8}",
        f"errors {show_share(latest.error_rate):>6}",
        draw_sparkline([window.p99_ms for window in windows], width=_SPARKLINE_WIDTH),
    )
    return "  ".join(parts)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
