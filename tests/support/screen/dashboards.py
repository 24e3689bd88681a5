"""`drupelet dashboard` as its own process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from support.broker.brokers import Broker

_PATIENCE_S = 20.0


@dataclass(frozen=True)
class RunningDashboard:
    """Where the page is, and the token it needs."""

    url: str
    process: subprocess.Popen[str]

    @property
    def origin(self) -> str:
        return self.url.partition("/#")[0]

    @property
    def port(self) -> int:
        port = urlsplit(self.url).port
        assert port is not None
        return port

    @property
    def token(self) -> str:
        return self.url.partition("#token=")[2]


def dashboard_command(*options: str) -> list[str]:
    return [sys.executable, "-m", "drupelet_host", "dashboard", *options]


@contextmanager
def running_dashboard(broker: Broker, *options: str, url: str | None = None) -> Iterator[RunningDashboard]:
    """Serve the page for a broker until the context ends, and see that it ends in good order."""
    command = dashboard_command("--broker", url or broker.url, *options)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            printed = process.stdout.readline().strip()
            assert printed.startswith("http://127.0.0.1:"), process.stderr.read()
            yield RunningDashboard(printed, process)
            process.terminate()
            assert process.wait(_PATIENCE_S) == 0, process.stderr.read()
        finally:
            process.kill()
