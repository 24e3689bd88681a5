"""`drupelet dashboard`: the fleet in a browser."""

from __future__ import annotations

import asyncio
import signal
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from drupelet_host.cli.broker_options import BrokerCommand, broker_address, broker_options

if TYPE_CHECKING:
    from drupelet_host.dashboard.server import DashboardOptions

_CONNECT_TIMEOUT_S = 10.0


@click.command(cls=BrokerCommand)
@broker_options
@click.option(
    "--port",
    metavar="NUMBER",
    type=click.IntRange(0, 65535),
    default=0,
    show_default=True,
    help="Port on 127.0.0.1; 0 takes a free one.",
)
@click.option(
    "--websocket",
    metavar="URL",
    help="WebSocket listener of the broker (ws:// or wss://, MQTT 5). The page then connects to it directly, without "
    "an account, instead of through this command to --broker.",
)
@click.option("--open", "is_opened", is_flag=True, help="Open the page in the default browser.")
def dashboard(
    *,
    broker: str,
    password_file: Path | None,
    ca_file: Path | None,
    cert_file: Path | None,
    key_file: Path | None,
    prefix: str,
    port: int,
    websocket: str | None,
    is_opened: bool,
) -> None:
    """Serve a local web page that shows all devices on the broker and sends images to their models.

    The page needs no internet. It speaks MQTT over a WebSocket to this command, which forwards it to the broker and
    adds the account and the certificates, so that the browser holds neither.

    Example: drupelet dashboard --broker mqtts://anna@broker.local --ca-file ca.crt --open
    """
    # Imported here because they import numpy, which `drupelet --help` does without.
    from drupelet_host.client.connection.connection import check_broker  # noqa: PLC0415
    from drupelet_host.dashboard.server import DashboardOptions  # noqa: PLC0415

    address = broker_address(
        broker, password_file=password_file, ca_file=ca_file, cert_file=cert_file, key_file=key_file
    )
    if websocket is not None and not _is_websocket(websocket):
        raise click.UsageError(f"--websocket {websocket!r}: expected ws://host[:port]/path or wss://host[:port]/path")
    if websocket is None:
        check_broker(address, timeout_s=_CONNECT_TIMEOUT_S)
    asyncio.run(_serve(DashboardOptions(address, prefix, websocket, port), is_opened=is_opened))


def _is_websocket(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in {"ws", "wss"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        # The port is out of range or no number.
        return False


async def _serve(options: DashboardOptions, *, is_opened: bool) -> None:
    from drupelet_host.dashboard.server import serve_dashboard  # noqa: PLC0415 - as above

    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    try:
        async with serve_dashboard(options) as running:
            click.echo(running.url)
            click.echo("Open this address in a browser on this machine. Ctrl-C stops the server.", err=True)
            if is_opened:
                webbrowser.open(running.url)
            await stopped.wait()
    except OSError as error:
        raise click.UsageError(f"--port {options.port}: {error}") from error
