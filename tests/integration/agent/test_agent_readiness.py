"""What the service manager receives from a real agent."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from drupelet_host.demo.broker import LOOPBACK, free_port
from support.agent.agents import agent_command
from support.agent.processes import killed_at_the_end
from support.agent.sites import Site
from support.broker.brokers import Broker


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(20)
        yield listening


def start(config: Path, manager: socket.socket) -> subprocess.Popen[bytes]:
    address = manager.getsockname()
    return subprocess.Popen(agent_command(config, "run"), env={"NOTIFY_SOCKET": address}, stderr=subprocess.DEVNULL)


def wait_for(manager: socket.socket, text: str) -> list[str]:
    received: list[str] = []
    deadline_s = time.monotonic() + 20
    while not any(text in message for message in received):
        assert time.monotonic() < deadline_s, received
        received.append(manager.recv(4096).decode())
    return received


def test_a_start_without_a_broker_is_ready_when_the_models_are_loaded(site: Site, manager: socket.socket) -> None:
    port = free_port()
    config = site.configure(Broker(host=LOOPBACK, port=port, port_311=port, kind="mosquitto"))
    site.install(config)
    with killed_at_the_end(start(config, manager)):
        received = wait_for(manager, "READY=1")
        assert f"STATUS=waiting for the broker {LOOPBACK}:{port}" in received[-1]
        assert received[-1].endswith("serving digits")


def test_the_status_follows_the_broker(site: Site, manager: socket.socket, broker: Broker) -> None:
    with killed_at_the_end(start(site.configure(broker), manager)) as agent:
        wait_for(manager, "STATUS=serving no model")
        agent.terminate()
        wait_for(manager, "STOPPING=1")
        assert agent.wait(20) == 0
