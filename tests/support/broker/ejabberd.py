"""Debian's ejabberd with its MQTT 5 module: loopback only, one process, any account, no shared subscriptions."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from drupelet_host.demo.broker import LOOPBACK, free_port
from support.broker.brokers import Broker, wait_until_listening

# Debian puts Erlang libraries beside the architecture's own.
_LIBRARIES = Path("/usr/lib")
_USERNAME = "tester"
_CONFIGURATION = """
hosts: [localhost]
loglevel: warning
listen:
  - port: {port}
    ip: "{host}"
    module: mod_mqtt
    max_payload_size: 33554432
auth_method: anonymous
anonymous_protocol: login_anon
allow_multiple_connections: true
modules:
  mod_mqtt:
    match_retained_limit: infinity
    max_queue: 10000
"""


def find_ejabberd() -> Path | None:
    """Return the folder of ejabberd's libraries; None where it is not installed."""
    found = next(_LIBRARIES.glob("*/ejabberd-*/ebin/mod_mqtt.beam"), None)
    return None if found is None or shutil.which("erl") is None else found.parents[2]


@contextmanager
def ejabberd_broker(folder: Path, *, port: int | None = None) -> Iterator[Broker]:
    """Start ejabberd in the foreground, without Erlang's distribution.

    Args:
        folder: Where its configuration, log and database go; what it keeps there outlives the process.
        port: The port; a free one by default.
    """
    libraries = find_ejabberd()
    assert libraries is not None, "ejabberd is not installed"
    port = port or free_port()
    config, log = folder / "ejabberd.yml", folder / "ejabberd.log"
    config.write_text(_CONFIGURATION.format(port=port, host=LOOPBACK), encoding="utf-8")
    environment = {
        **os.environ,
        "ERL_LIBS": str(libraries),
        "EJABBERD_CONFIG_PATH": str(config),
        "EJABBERD_LOG_PATH": str(log),
        "HOME": str(folder),
    }
    command = ["erl", "-noinput", "-mnesia", "dir", f'"{folder / "database"}"', "-s", "ejabberd"]
    output_path = folder / "ejabberd.out"
    with (
        output_path.open("wb") as output,
        subprocess.Popen(
            command, cwd=folder, env=environment, stdout=output, stderr=output, stdin=subprocess.DEVNULL
        ) as process,
    ):
        try:
            wait_until_listening(process, port, output_path)
            yield Broker(host=LOOPBACK, port=port, port_311=port, kind="ejabberd", username=_USERNAME)
        finally:
            process.kill()
