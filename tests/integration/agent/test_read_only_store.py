"""A card that turns read-only: what is active is served on, and every order is refused with a code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from drupelet_host.client import BrokerAddress
from drupelet_host.client.control.control import ControlClient
from drupelet_host.errors import RemoteError
from drupelet_shared.contract.commands import InstalledModels, InstalledRelease, InstallRequest, ListRequest
from support.agent.agents import agent_command
from support.agent.asking import asker
from support.agent.sites import Site
from support.broker.brokers import Broker
from support.package.served_packages import make_package

NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount")
TESTS = Path(__file__).parents[2]


def has_namespaces() -> bool:
    return subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode == 0


pytestmark = pytest.mark.skipif(not has_namespaces(), reason="a read-only mount needs user namespaces")


def environment() -> dict[str, str]:
    """The environment of a program of the tests' own."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *filter(None, sys.path)])}


def on_card(site: Site, config: Path, *words: str, start: str) -> list[str]:
    """The command line that runs the agent on a card."""
    card = (sys.executable, "-m", "support.store.read_only_card", str(site.folder / "state"), start)
    return [*NAMESPACE, *card, *agent_command(config, *words)]


@contextmanager
def agent_on_card(site: Site, config: Path, *, start: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run the agent; SIGUSR1 to the process turns the card read-only."""
    log = site.folder / "agent.log"
    command = on_card(site, config, "run", start=start)
    with log.open("ab") as output, subprocess.Popen(command, stderr=output, env=environment()) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            finally:
                process.kill()


def check_that_orders_are_refused(site: Site, broker: Broker) -> None:
    with ControlClient(broker=BrokerAddress(broker.host, broker.port)) as client:
        package = make_package(site.folder, site.keys, release=2).as_uri()
        with pytest.raises(RemoteError) as caught:
            client.command(site.topics.device, "install", InstallRequest(source=package), InstalledRelease)
        assert caught.value.device_code == "store_read_only"
        (model,) = client.command(site.topics.device, "list", ListRequest(), InstalledModels).models
        assert model.active is not None
        assert model.active.release == 1


def test_a_card_that_turns_read_only_ends_nothing(site: Site, broker: Broker) -> None:
    config = site.configure(broker)
    site.install(config)
    with site.listener(broker) as heard, agent_on_card(site, config, start="ready") as process:
        heard.wait_for(site.topics.model_state("digits"), health="ready")
        process.send_signal(signal.SIGUSR1)
        event = heard.wait_for(site.topics.event, kind="store", state="raised")
        assert "read-only" in event["message"]
        status = heard.wait_for(site.topics.status, state="online", store="read_only")
        assert "nothing can be installed" in status["store_error"]
        check_that_orders_are_refused(site, broker)
        with asker(broker) as ask:
            assert ask.ask(site.topics.infer("digits"), b"{}").json["code"] == "invalid_request"
        assert process.poll() is None


def test_the_agent_starts_on_a_read_only_store_and_the_doctor_names_it(site: Site, broker: Broker) -> None:
    config = site.configure(broker)
    site.install(config)
    with site.listener(broker) as heard, agent_on_card(site, config, start="read-only"):
        heard.wait_for(site.topics.model_state("digits"), health="ready")
        heard.wait_for(site.topics.event, kind="store", state="raised")
        heard.wait_for(site.topics.status, state="online", store="read_only")
        check_that_orders_are_refused(site, broker)
        with asker(broker) as ask:
            assert ask.ask(site.topics.infer("digits"), b"{}").json["code"] == "invalid_request"
    doctor = subprocess.run(
        on_card(site, config, "doctor", start="read-only"),
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "is on a read-only file system" in doctor.stdout
