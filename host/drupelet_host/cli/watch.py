"""`drupelet watch`: a model's telemetry, one line per window."""

from __future__ import annotations

import difflib
import math
import queue
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from drupelet_host.cli.broker_options import BrokerCommand, broker_address, broker_options
from drupelet_host.cli.names import ModelName
from drupelet_host.cli.output import console, print_json_line
from drupelet_shared.contract.messages import ModelTelemetry

if TYPE_CHECKING:
    from drupelet_host.fleet.state import Fleet, TelemetryWindow
    from drupelet_shared.contract.topics import Announcement

# Ctrl-C does not interrupt a wait without a limit.
_POLL_S = 0.5
# By then retained statuses and states have arrived.
_HINT_S = 5.0


@click.command(cls=BrokerCommand)
@click.argument("model", type=ModelName())
@click.option(
    "--device",
    metavar="NAME",
    envvar="DRUPELET_DEVICE",
    show_envvar=True,
    help="Show only this device; all that have the model by default.",
)
@broker_options
@click.option("--count", metavar="COUNT", type=click.IntRange(min=1), help="Exit after this many windows.")
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
    """Show MODEL's request rate, latency and errors: one line per telemetry window, until Ctrl-C.

    The bars show the p99 of the latest windows, relative to the largest of them. A narrow window drops the model, p90
    and max; requests/s, p50, p99 and errors are always there.

    Example: drupelet watch digits --device pi-7
    """
    # Imported here because they import numpy, which `drupelet --help` does without.
    from drupelet_host.fleet.feed import FleetFeed  # noqa: PLC0415
    from drupelet_host.fleet.window_line import format_window  # noqa: PLC0415

    address = broker_address(
        broker, password_file=password_file, ca_file=ca_file, cert_file=cert_file, key_file=key_file
    )
    lines: queue.SimpleQueue[tuple[str, ModelTelemetry, list[TelemetryWindow]]] = queue.SimpleQueue()

    def receive(announcement: Announcement) -> None:
        """Take a window on the network thread, so that none is missed when several arrive together."""
        if announcement.kind != "model_telemetry" or announcement.model != model:
            return
        if device in {None, announcement.device}:
            lines.put((announcement.device, *feed.read(lambda fleet, _: _latest(fleet, announcement))))

    with FleetFeed(address, prefix=prefix, on_change=receive) as feed:
        if not as_json:
            click.echo(f"waiting for telemetry of {model}{f' on {device}' if device else ''}", err=True)
        shown, hint_at_s = 0, time.monotonic() + _HINT_S
        while count is None or shown < count:
            try:
                name, telemetry, windows = lines.get(timeout=_POLL_S)
            except queue.Empty:
                if shown == 0 and time.monotonic() > hint_at_s:
                    hint_at_s = math.inf
                    hint = feed.read(lambda fleet, _: _explain_silence(fleet, model, device, prefix=prefix))
                    click.echo(f"note: {hint}; still waiting, Ctrl-C ends it", err=True)
                continue
            shown += 1
            if as_json:
                print_json_line({"at": _now(), "device": name, **telemetry.model_dump(exclude_none=True)})
            else:
                at, width = datetime.now().astimezone(), console.width if console.is_terminal else None
                console.print(format_window(name, telemetry, windows, at=at, width=width), soft_wrap=True, markup=False)


def _explain_silence(fleet: Fleet, model: str, device: str | None, *, prefix: str) -> str:
    """Return why there may be no telemetry, from what devices have announced."""
    from drupelet_host.client.connection.presence import explain_absence  # noqa: PLC0415 - as above

    statuses = {name: known.status for name, known in fleet.devices.items() if known.status is not None}
    if device is not None and (absence := explain_absence(device, statuses, prefix=prefix)):
        return str(absence)
    if not statuses:
        return f"no device has announced itself under {prefix!r}: start an agent, or check --broker and --prefix"
    where = [known for name, known in fleet.devices.items() if device in {None, name}]
    models = sorted({name for known in where for name in known.models})
    if model in models:
        return f"no window of {model} has arrived yet; devices send one every telemetry.interval_s, by default 10 s"
    nearest = difflib.get_close_matches(model, models, n=1)
    hint = f"did you mean {nearest[0]!r}?" if nearest else f"there are {', '.join(models) or 'no models'}"
    return f"{device or 'no device'} {'has no' if device else 'has a'} model {model!r}: {hint}"


def _latest(fleet: Fleet, announcement: Announcement) -> tuple[ModelTelemetry, list[TelemetryWindow]]:
    assert announcement.model is not None, "the topic names the model"
    model = fleet.devices[announcement.device].models[announcement.model]
    assert model.telemetry is not None, "the announcement has just set it"
    return model.telemetry, list(model.windows)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
