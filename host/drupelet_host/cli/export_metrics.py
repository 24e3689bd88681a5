"""`drupelet export-metrics`: the fleet's telemetry for Prometheus."""

from __future__ import annotations

import threading
from pathlib import Path

import click

from drupelet_host.cli.broker_options import BrokerCommand, broker_address, broker_options
from drupelet_host.cli.control_options import read_labels

_DEFAULT_PORT = 9464


@click.command("export-metrics", cls=BrokerCommand)
@click.option(
    "--listen",
    metavar="ADDRESS",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on. There is no password: open it to others only behind a firewall or a proxy.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="NUMBER",
    default=_DEFAULT_PORT,
    show_default=True,
    help="Port to listen on; 0 takes a free one.",
)
@click.option(
    "--label",
    multiple=True,
    metavar="NAME=VALUE",
    help="Export only devices with this label, so that several exporters share a fleet; repeatable.",
)
@broker_options
def export_metrics(
    *,
    listen: str,
    port: int,
    label: tuple[str, ...],
    broker: str,
    password_file: Path | None,
    ca_file: Path | None,
    cert_file: Path | None,
    key_file: Path | None,
    prefix: str,
) -> None:
    """Serve the telemetry of all devices as one page that Prometheus scrapes, until Ctrl-C.

    Names and units are those of the agents' own endpoints, with the device as a label. deploy/grafana has a dashboard.

    Example: drupelet export-metrics --broker mqtt://broker.local --label site=berlin
    """
    # Imported here because they import numpy, which `drupelet --help` does without.
    from drupelet_host.fleet.feed import FleetFeed  # noqa: PLC0415
    from drupelet_host.metrics.serving import serving_metrics  # noqa: PLC0415

    address = broker_address(
        broker, password_file=password_file, ca_file=ca_file, cert_file=cert_file, key_file=key_file
    )
    labels = read_labels(label)
    with FleetFeed(address, prefix=prefix) as feed:
        try:
            with serving_metrics(feed, host=listen, port=port, labels=labels) as bound:
                click.echo(f"http://{listen}:{bound}/metrics")
                threading.Event().wait()
        except OSError as error:
            raise click.UsageError(f"--listen {listen} --port {port}: {error}") from error
