"""Devices that work towards a desired state: from a web server, past failures and restarts, and never backwards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from drupelet_agent.store.store import Store
from drupelet_host.client import BrokerAddress
from drupelet_host.client.control.control import ControlClient
from drupelet_host.client.control.deployment import set_desired
from drupelet_shared.contract.commands import InstalledRelease, RollBackRequest
from drupelet_shared.contract.delivery import DesiredState
from support.agent.agents import Listener, run_agent_command, running_agent
from support.agent.commands import drupelet
from support.agent.sites import Site
from support.broker.brokers import Broker
from support.package.file_server import FileServer, file_server
from support.package.served_packages import make_package


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FileServer]:
    with file_server(tmp_path) as found:
        yield found


def configure(site: Site, broker: Broker, server: FileServer) -> Path:
    return site.configure(broker, extra=f'delivery.ca_file = "{server.ca_file}"')


def offer(site: Site, server: FileServer, *, release: int) -> DesiredState:
    """Put a package on the server; what to desire for it."""
    content = make_package(site.folder, site.keys, release=release).read_bytes()
    server.behaviour.files[f"/digits-{release}.drupe"] = content
    return DesiredState(version=f"{release}.0.0", source=f"{server.url}/digits-{release}.drupe?token=secret")


def desire(broker: Broker, site: Site, desired: DesiredState | None) -> None:
    with ControlClient(broker=BrokerAddress(broker.host, broker.port)) as control:
        set_desired(control, site.topics.device, "digits", desired, timeout_s=10)


def test_a_device_fetches_what_is_desired_before_it_was_there_and_tells_how_far_it_is(
    site: Site, broker: Broker, server: FileServer
) -> None:
    wanted, delivery = offer(site, server, release=1), site.topics.delivery("digits")
    server.behaviour.cuts, server.behaviour.cut_after = 2, 1000
    desire(broker, site, wanted)
    with site.listener(broker) as heard, running_agent(configure(site, broker, server)):
        heard.wait_for(delivery, state="fetching")
        heard.wait_for(delivery, state="installing")
        told = heard.wait_for(delivery, state="in_sync", version="1.0.0")
        assert told["source"] == f"{server.url}/digits-1.drupe"
        heard.wait_for(site.topics.model_state("digits"), release=1, health="ready")
        desire(broker, site, offer(site, server, release=2))
        heard.wait_for(delivery, state="in_sync", version="2.0.0")
        heard.wait_for(site.topics.model_state("digits"), release=2, health="ready")
        desire(broker, site, None)
        _wait_until_cleared(heard, delivery)
    assert Store(site.folder / "state").require_active("digits").release == 2
    assert list((site.folder / "state/incoming/fetched").iterdir()) == []


def _wait_until_cleared(heard: Listener, topic: str) -> None:
    while heard.latest.get(topic) != b"":
        message = heard.messages.get(timeout=20)
        heard.latest[message.topic] = message.payload


def test_a_desired_state_fails_with_its_code_and_changes_nothing(
    site: Site, embedded: Broker, server: FileServer
) -> None:
    delivery, config = site.topics.delivery("digits"), configure(site, embedded, server)
    for release in (1, 2):
        site.install(config, release=release)
    wanted = offer(site, server, release=3)
    absent = DesiredState(version="3.0.0", source=f"{server.url}/absent.drupe")
    cases = {
        "source_error": absent,
        "wrong_package": wanted.model_copy(update={"version": "4.0.0"}),
        "release_too_old": DesiredState(version="1.0.0", source=wanted.source),
        "unknown_upload": DesiredState(version="3.0.0", source=f"upload:{'0' * 64}"),
    }
    with site.listener(embedded) as heard, running_agent(config):
        for code, desired in cases.items():
            desire(embedded, site, desired)
            told = heard.wait_for(delivery, state="failed", code=code)
            assert ("retry_in_s" in told) == (code != "release_too_old")
        heard.client.publish(site.topics.desired("digits"), b'{"source": "ftp://x"}', qos=1, retain=True)
        assert "source: " in heard.wait_for(delivery, code="invalid_desired_state")["error"]
        assert Store(site.folder / "state").require_active("digits").release == 2


def test_a_release_that_is_rolled_back_stays_so_until_something_else_is_desired(
    site: Site, embedded: Broker, server: FileServer
) -> None:
    delivery, config = site.topics.delivery("digits"), configure(site, embedded, server)
    site.install(config)
    desire(embedded, site, offer(site, server, release=2))
    with site.listener(embedded) as heard:
        with running_agent(config), ControlClient(broker=BrokerAddress(embedded.host, embedded.port)) as control:
            heard.wait_for(delivery, state="in_sync", version="2.0.0")
            control.command(site.topics.device, "rollback", RollBackRequest(model="digits"), InstalledRelease)
            heard.wait_for(delivery, state="failed", code="rolled_back")
        heard.latest.clear()
        with running_agent(config):
            heard.wait_for(delivery, state="failed", code="rolled_back")
            assert Store(site.folder / "state").require_active("digits").release == 1
            desire(embedded, site, offer(site, server, release=3))
            heard.wait_for(delivery, state="in_sync", version="3.0.0")
    changes = json.loads(run_agent_command(config, "list", "--json").stdout)["digits"]["changes"]
    assert [change["what"] for change in changes] == ["installed", "installed", "rolled_back", "installed"]
    assert "secret" not in json.dumps(changes)


def test_a_deployment_is_said_waited_for_shown_and_taken_back(site: Site, embedded: Broker, server: FileServer) -> None:
    where = ("--device", site.topics.device, "--broker", embedded.url)
    wanted = offer(site, server, release=1)
    words = ("deploy", "digits", "--source", wanted.source, *where)
    with running_agent(configure(site, embedded, server)):
        done = drupelet(*words, "--version", "1.0.0", "--wait", "60")
        assert f"digits 1.0.0 on {site.topics.device}: in sync" in done.stdout
        (outcome,) = json.loads(drupelet("status", *where, "--json").stdout)
        assert outcome["result"]["status"]["state"] == "online"
        assert outcome["result"]["models"][0]["version"] == "1.0.0"
        assert outcome["result"]["deliveries"][0]["state"] == "in_sync"
        for _ in range(2):
            failed = drupelet(*words, "--version", "9.0.0", "--wait", "60", status=1)
            assert "wrong_package: package digits 1.0.0: version is 1.0.0, expected 9.0.0" in failed.stderr
        assert len([path for path, _ in server.behaviour.requests if path.startswith("/digits-1")]) == 3
        shown = drupelet("status", *where).stdout
        assert f"{site.topics.device}: online" in shown
        assert "digits desired 9.0.0: failed" in shown
        assert "no desired state any more" in drupelet("deploy", "digits", "--clear", *where).stdout
    # It is offline now, and will hear of it.
    assert site.topics.device in drupelet("deploy", "digits", "--clear", "--all", "--broker", embedded.url).stdout
    assert "name the package's source: --source URL" in drupelet("deploy", "digits", *where, status=2).stderr
