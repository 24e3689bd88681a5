"""`drupelet dashboard`: the fleet in a browser."""

from __future__ import annotations

import asyncio
import signal
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from drupelet_host.cli.broker_options import broker_address, broker_options
from drupelet_shared.contract.topics import DEFAULT_PREFIX

if TYPE_CHECKING:
    from drupelet_host.dashboard.server import DashboardOptions

_CHECK_TIMEOUT_S = 10.0


@click.command()
@broker_options
@click.option("--prefix", default=DEFAULT_PREFIX, show_default=True, help="First levels of the topics.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port on 127.0.0.1; any free one by default.")
@click.option(
    "--websocket",
    metavar="URL",
    help="ws:// or wss:// address of the broker's own listener (MQTT 5): the page connects to it by itself, without an "
    "account, in place of the bridge to --broker.",
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
    """Serve a page on this machine that shows every device on the broker, and asks a model for an answer to an image.

    The page needs no internet. It speaks MQTT over a WebSocket to this command, which carries it to the broker and puts
    in the account and the certificates, so that neither is in the browser.

    Example: drupelet dashboard --broker mqtts://anna@broker.local --ca-file ca.crt --open
    """
    # Imported here because they import numpy, which `drupelet --help` does without.
    from drupelet_host.client.connection.connection import check_broker  # noqa: PLC0415
    from drupelet_host.dashboard.server import DashboardOptions  # noqa: PLC0415

    address = broker_address(
        broker, password_file=password_file, ca_file=ca_file, cert_file=cert_file, key_file=key_file
    )
    if websocket is not None and (urlsplit(websocket).scheme not in {"ws", "wss"} or not urlsplit(websocket).hostname):
        raise click.UsageError(f"--websocket {websocket!r}: expected ws://host[:port]/path or wss://host[:port]/path")
    if websocket is None:
        check_broker(address, timeout_s=_CHECK_TIMEOUT_S)
    asyncio.run(_serve(DashboardOptions(address, prefix, websocket, port), is_opened=is_opened))


async def _serve(options: DashboardOptions, *, is_opened: bool) -> None:
    from drupelet_host.dashboard.server import serve_dashboard  # noqa: PLC0415 - as above

    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    try:
        async with serve_dashboard(options) as running:
            click.echo(running.url)
            click.echo("Open this address in a browser of this machine; Ctrl-C ends it.", err=True)
            if is_opened:
                webbrowser.open(running.url)
            await ended.wait()
    except OSError as error:
        raise click.UsageError(f"--port {options.port}: {error}") from error
