"""An embedded MQTT broker for demonstrations and tests: loopback only, without accounts, in its own process."""

from __future__ import annotations

import argparse
import logging
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from drupelet_host.errors import BrokerError

LOOPBACK = "127.0.0.1"
_READY = "ready"
_LISTEN_TIMEOUT_S = 10.0
_POLL_S = 0.02
# Below the range that Linux uses for outgoing connections.
_PORTS = (20_000, 32_000)

# rumqttd serves one protocol version per listener.
_CONFIG = """\
id = 0

[router]
id = 0
max_connections = 256
max_outgoing_packet_count = 200
max_segment_size = 33554432
max_segment_count = 3
"""
_LISTENER = """
[{version}.1]
name = "{version}"
listen = "{host}:{port}"
next_connection_delay_ms = 1

[{version}.1.connections]
connection_timeout_ms = 10000
max_payload_size = {max_payload_bytes}
max_inflight_count = 200
dynamic_filters = true
"""
_MAX_PAYLOAD_BYTES = 32 * 2**20


@dataclass(frozen=True, slots=True)
class DemoBroker:
    """The address of a running demonstration broker.

    Attributes:
        host: Its host.
        port: The port for MQTT 5.
        port_311: The port for MQTT 3.1.1.
    """

    host: str
    port: int
    port_311: int


@contextmanager
def demo_broker() -> Iterator[DemoBroker]:
    """Run the broker on two free ports, one for MQTT 5 and one for MQTT 3.1.1, until the context ends.

    Raises:
        BrokerError: The broker does not start; the demo extra may be missing.
    """
    broker = DemoBroker(host=LOOPBACK, port=free_port(), port_311=free_port())
    command = [sys.executable, "-m", "drupelet_host.demo.broker"]
    command += ["--port", str(broker.port), "--port-311", str(broker.port_311)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            if process.stdout.readline().strip() != _READY:
                raise BrokerError(
                    f"demo broker on {LOOPBACK}:{broker.port}: its process ended before it listened; is the demo extra "
                    "installed?"
                )
            yield broker
        finally:
            process.kill()


def free_port() -> int:
    """Return a TCP port of the loopback address that is free now.

    The kernel does not choose it, because it would choose from the range of outgoing connections: a client that keeps
    reconnecting while a broker restarts could take the broker's port.
    """
    while True:
        port = random.randrange(*_PORTS)  # noqa: S311 - no secret
        with socket.socket() as probe, suppress(OSError):
            probe.bind((LOOPBACK, port))
            return port


def main() -> None:
    """Serve until standard input closes, which happens when the parent process ends."""
    parser = argparse.ArgumentParser(prog="python -m drupelet_host.demo.broker", description=__doc__)
    parser.add_argument("--port", type=int, default=1883, help="MQTT 5 (default: %(default)s)")
    parser.add_argument("--port-311", type=int, default=1884, help="MQTT 3.1.1 (default: %(default)s)")
    options = parser.parse_args()
    _serve(options.port, options.port_311)
    sys.stdout.write(f"{_READY}\n")
    sys.stdout.flush()
    sys.stdin.read()


def _serve(port: int, port_311: int) -> None:
    # The demo extra is optional, and the rest of this module works without it.
    from iotcore.iotcore import IotCoreBroker  # noqa: PLC0415 - only the serving process loads the broker

    # rumqttd wraps its routing in spans of level ERROR, one for each packet.
    logging.getLogger("rumqttd").setLevel(logging.CRITICAL)
    listeners = (("v5", port), ("v4", port_311))
    sections = [
        _LISTENER.format(version=version, host=LOOPBACK, port=number, max_payload_bytes=_MAX_PAYLOAD_BYTES)
        for version, number in listeners
    ]
    with tempfile.TemporaryDirectory(prefix="drupelet-broker-") as folder:
        config = Path(folder) / "rumqttd.toml"
        config.write_text("".join([_CONFIG, *sections]), encoding="utf-8")
        IotCoreBroker(config_path=str(config)).start()
        _set_no_delay({port, port_311})


def _set_no_delay(ports: set[int]) -> None:
    """Set TCP_NODELAY on the listening sockets, which accepted connections inherit.

    rumqttd leaves Nagle's algorithm on and has no setting for it. Together with delayed acknowledgements a small
    request and its reply then take 44 ms instead of 1.3 ms (measured on loopback, median of ten).
    """
    deadline = time.monotonic() + _LISTEN_TIMEOUT_S
    while ports and time.monotonic() < deadline:
        for entry in Path("/proc/self/fd").iterdir():
            ports = ports - {_tune_listener(int(entry.name))}
        time.sleep(_POLL_S)
    if ports:
        raise BrokerError(f"demo broker on {LOOPBACK}: nothing listens on {sorted(ports)} after {_LISTEN_TIMEOUT_S} s")


def _tune_listener(descriptor: int) -> int | None:
    """Set TCP_NODELAY if a descriptor is a listening TCP socket and return its port; None otherwise."""
    try:
        with socket.socket(fileno=os.dup(descriptor)) as candidate:
            if not candidate.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                return None
            candidate.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return int(candidate.getsockname()[1])
    except OSError:  # not a socket, or closed since it was listed
        return None


if __name__ == "__main__":
    main()
