"""Real brokers for tests: the embedded one of the demo, and Debian's mosquitto; loopback only, one process each."""

from __future__ import annotations

import getpass
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from drupelet_host.demo.broker import LOOPBACK, demo_broker, free_port

_START_TIMEOUT_S = 10.0
_SHIPPED_SETTINGS = Path(__file__).resolve().parents[3] / "deploy/mosquitto/drupelet.conf"
# Debian installs daemons where an ordinary user's PATH does not look.
_SEARCH_PATH = "/usr/local/sbin:/usr/sbin:/sbin"


@dataclass(frozen=True, slots=True)
class Broker:
    """Where a broker listens.

    Attributes:
        host: Its address.
        port: Its port for MQTT 5.
        port_311: Its port for MQTT 3.1.1; `port` itself where one port speaks both.
        kind: Which broker it is.
        username: The account that clients must name, with any password; None where none is required.
    """

    host: str
    port: int
    port_311: int
    kind: Literal["embedded", "mosquitto", "ejabberd"]
    username: str | None = None

    @property
    def url(self) -> str:
        """The address as the command line takes it."""
        return f"mqtt://{self.host}:{self.port}"


def find_mosquitto() -> str | None:
    """Return the mosquitto binary; None where it is not installed."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path=_SEARCH_PATH)


@contextmanager
def embedded_broker() -> Iterator[Broker]:
    """Yield the broker that comes with the demo extra."""
    with demo_broker() as address:
        yield Broker(host=address.host, port=address.port, port_311=address.port_311, kind="embedded")


@contextmanager
def mosquitto_broker(
    folder: Path, *, port: int | None = None, settings: Sequence[str] = (), end: signal.Signals = signal.SIGKILL
) -> Iterator[Broker]:
    """Debian's mosquitto, with the settings that the project ships for it.

    Args:
        folder: Where its configuration and log go.
        port: The port; a free one by default.
        settings: Lines of mosquitto.conf that come after, and so apply to, the listener.
        end: How it is ended; SIGTERM lets it write down what it keeps.
    """
    binary = find_mosquitto()
    assert binary is not None, "mosquitto is not installed"
    port = port or free_port()
    lines = [
        "per_listener_settings false",
        _SHIPPED_SETTINGS.read_text(encoding="utf-8"),
        *(() if any(line.startswith("persistence ") for line in settings) else ("persistence false",)),
        # Started by root it would become another user, who cannot read a test's folder.
        f"user {getpass.getuser()}",
        f"listener {port} {LOOPBACK}",
    ]
    if not any(line.startswith("allow_anonymous") for line in settings):
        lines.append("allow_anonymous true")
    config = folder / f"mosquitto-{port}.conf"
    config.write_text("\n".join([*lines, *settings, ""]), encoding="utf-8")
    log_path = folder / f"mosquitto-{port}.log"
    with (
        log_path.open("wb") as log,
        subprocess.Popen([binary, "-c", str(config)], stdout=log, stderr=log, stdin=subprocess.DEVNULL) as process,
    ):
        try:
            wait_until_listening(process, port, log_path)
            yield Broker(host=LOOPBACK, port=port, port_311=port, kind="mosquitto")
        finally:
            process.send_signal(end)


def wait_until_listening(process: subprocess.Popen[bytes], port: int, log_path: Path) -> None:
    """Wait until a broker's process accepts connections, or raise with its log."""
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection((LOOPBACK, port), timeout=1.0).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise RuntimeError(f"the broker does not listen on port {port}: {log_path.read_text(errors='replace')}")
