"""Commands over MQTT to the real agent: what they do, what they say on the way, and what they refuse."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from pydantic import BaseModel

from drupelet_agent.commands.table import COMMANDS
from drupelet_agent.store.records import Activation
from drupelet_agent.store.store import Store
from drupelet_host.client import BrokerAddress
from drupelet_host.client.control.control import ControlClient
from drupelet_host.errors import DeviceOfflineError, DeviceRestartedError, RemoteError
from drupelet_shared.contract.commands import (
    EXCHANGES,
    ActivateRequest,
    CommandProgress,
    InstalledModels,
    InstalledRelease,
    InstallRequest,
    ListRequest,
    Removed,
    RemoveRequest,
    RollBackRequest,
    TuneRequest,
)
from support.agent.agents import running_agent
from support.agent.asking import asker
from support.agent.sites import Site
from support.broker.brokers import Broker
from support.package.served_packages import Keys, make_keys, make_package


def control(broker: Broker) -> ControlClient:
    return ControlClient(broker=BrokerAddress(broker.host, broker.port))


def package_of(site: Site, *, release: int = 1) -> str:
    return make_package(site.folder, site.keys, release=release).as_uri()


def test_a_model_is_installed_tuned_rolled_back_activated_and_removed_over_mqtt(site: Site, broker: Broker) -> None:
    device, steps = site.topics.device, list[CommandProgress]()
    config = site.configure(broker)
    with running_agent(config), control(broker) as client, site.listener(broker) as heard:
        for release in (1, 2):
            request = InstallRequest(source=package_of(site, release=release), model="digits")
            installed = client.command(device, "install", request, InstalledRelease, on_progress=steps.append)
            assert installed.release == release
            heard.wait_for(site.topics.model_state("digits"), release=release, health="ready")
        stages = ["received", "verified", "golden_check", "measured", "tuned", "active"]
        assert [step.stage for step in steps] == stages * 2
        assert client.command(device, "tune", TuneRequest(model="digits"), InstalledRelease).release == 2
        back = client.command(device, "rollback", RollBackRequest(model="digits", from_release=2), InstalledRelease)
        assert back.release == 1
        heard.wait_for(site.topics.model_state("digits"), release=1, health="ready")
        assert client.command(device, "activate", ActivateRequest(model="digits"), InstalledRelease).release == 2
        heard.wait_for(site.topics.model_state("digits"), release=2, health="ready")
        (listed,) = client.command(device, "list", ListRequest(), InstalledModels).models
        assert listed.active is not None
        assert listed.previous is not None
        assert (listed.active.release, listed.previous.release, listed.highest_release) == (2, 1, 2)
        assert [change.what for change in listed.changes] == ["installed"] * 2 + ["tuned", "rolled_back", "activated"]
        removed = client.command(device, "remove", RemoveRequest(model="digits"), Removed)
        assert removed.freed_bytes > 1000
        heard.wait_for(site.topics.model_state("digits"), health="removed")
    assert Store(site.folder / "state").active() == {}
    assert list((site.folder / "state/packages").iterdir()) == []


def test_a_release_that_is_staged_waits_for_its_activation(site: Site, embedded: Broker) -> None:
    device = site.topics.device
    config = site.configure(embedded)
    site.install(config)
    with running_agent(config), control(embedded) as client:
        request = InstallRequest(source=package_of(site, release=2), activate=False)
        client.command(device, "install", request, InstalledRelease)
        assert active(site).release == 1
        client.command(device, "activate", ActivateRequest(model="digits", release=2), InstalledRelease)
        assert active(site).release == 2


def active(site: Site) -> Activation:
    return Store(site.folder / "state").require_active("digits")


def test_what_was_removed_does_not_come_back_in_an_older_release(site: Site, embedded: Broker) -> None:
    device = site.topics.device
    config = site.configure(embedded)
    site.install(config, release=2)
    with running_agent(config), control(embedded) as client:
        client.command(device, "remove", RemoveRequest(model="digits"), Removed)
        assert refusal(client, device, "install", InstallRequest(source=package_of(site))) == "release_too_old"
        client.command(device, "install", InstallRequest(source=package_of(site, release=3)), InstalledRelease)
    assert active(site).release == 3


def refusal(client: ControlClient, device: str, name: str, request: BaseModel) -> str | None:
    with pytest.raises(RemoteError) as caught:
        client.command(device, name, request, EXCHANGES[name].result)
    return caught.value.device_code


REFUSED: dict[str, tuple[str, Callable[[Site], BaseModel]]] = {
    "wrong_package": ("install", lambda site: InstallRequest(source=package_of(site, release=2), model="faces")),
    "source_error": ("install", lambda site: InstallRequest(source=site.folder.as_uri())),
    "archive_invalid": ("install", lambda site: InstallRequest(source=(site.folder / "maker.pub").as_uri())),
    "signature_untrusted": (
        "install",
        lambda site: InstallRequest(
            source=make_package(site.folder, make_keys(site.folder, "stranger"), release=2).as_uri()
        ),
    ),
    "release_too_old": ("activate", lambda _: ActivateRequest(model="digits")),
    "not_installed": ("rollback", lambda _: RollBackRequest(model="faces")),
    "release_changed": ("rollback", lambda _: RollBackRequest(model="digits", from_release=7)),
    "no_previous_release": ("rollback", lambda _: RollBackRequest(model="digits")),
    "invalid_command": ("tune", lambda _: ListRequest()),
}


def test_what_cannot_be_done_is_refused_with_its_code_and_changes_nothing(site: Site, embedded: Broker) -> None:
    config = site.configure(embedded)
    site.install(config)
    before = active(site)
    with running_agent(config), control(embedded) as client:
        codes = {code: refusal(client, site.topics.device, name, make(site)) for code, (name, make) in REFUSED.items()}
    assert codes == {code: code for code in REFUSED}
    assert active(site) == before


def test_keys_are_rotated_while_the_agent_runs(site: Site, embedded: Broker) -> None:
    old, new, trust = site.keys, make_keys(site.folder, "successor"), site.folder / "trust"

    def install(keys: Keys, release: int) -> str:
        request = InstallRequest(source=make_package(site.folder, keys, release=release).as_uri())
        try:
            return str(client.command(site.topics.device, "install", request, InstalledRelease).release)
        except RemoteError as error:
            return str(error.device_code)

    with running_agent(site.configure(embedded)), control(embedded) as client:
        assert [install(old, 1), install(new, 2)] == ["1", "signature_untrusted"]
        shutil.copy(new.public, trust)
        assert [install(new, 2), install(old, 3)] == ["2", "3"]
        (trust / "maker.pub").unlink()
        assert [install(old, 4), install(new, 4)] == ["signature_untrusted", "4"]


def test_a_package_for_another_device_is_refused_and_an_unsigned_one_is_taken_loudly(
    site: Site, embedded: Broker
) -> None:
    config = site.configure(embedded, extra='trust.targets = ["camera"]\ntrust.allow_unsigned = true')
    request = InstallRequest(source=make_package(site.folder, None).as_uri())
    with running_agent(config) as agent, control(embedded) as client:
        assert refusal(client, site.topics.device, "install", request) == "wrong_target"
        assert "UNSIGNED PACKAGES ARE ACCEPTED FROM ANYBODY" in agent.log.read_text(encoding="utf-8")
        # One that is killed may still pass for online when the next is asked.
        assert agent.stop() == 0
    config = site.configure(embedded, extra="trust.allow_unsigned = true")
    steps: list[CommandProgress] = []
    with running_agent(config), control(embedded) as client:
        installed = client.command(site.topics.device, "install", request, InstalledRelease, on_progress=steps.append)
    assert installed.signed_by is None
    assert "signature NOT checked" in steps[1].detail


def test_orders_that_are_no_commands_are_answered_without_a_process(site: Site, broker: Broker) -> None:
    with running_agent(site.configure(broker)), asker(broker) as ask, site.listener(broker) as heard:
        heard.wait_for(site.topics.status, state="online")
        unknown = ask.ask(site.topics.command("make-coffee"), b"{}")
        assert unknown.json["code"] == unknown.user_properties["code"] == "unknown_command"
        assert ", ".join(sorted(COMMANDS)) in unknown.json["error"]
        assert ask.ask(site.topics.command("list"), b" " * 70_000).json["code"] == "invalid_command"
        assert ask.ask(site.topics.command("list"), b"[nothing]").json["code"] == "invalid_command"
        # A device is nobody's way to give orders to itself.
        ask.send(site.topics.command("list"), b"", response_topic=site.topics.command("tune"))
        refused = heard.wait_for(site.topics.command_result("list"))
        assert refused["code"] == "invalid_request"


def test_a_command_that_is_delivered_twice_runs_once_and_is_answered_twice(site: Site, embedded: Broker) -> None:
    config = site.configure(embedded)
    for release in (1, 2, 3):
        site.install(config, release=release)
    request = json.dumps({"model": "digits"}).encode()
    with running_agent(config), asker(embedded) as ask, site.listener(embedded) as heard:
        heard.wait_for(site.topics.status, state="online")
        answers = []
        for _ in range(2):
            # The asker numbers its messages; the same number again is the same command.
            ask._numbers = iter([0])
            ask.send(site.topics.command("rollback"), request)
            while (answer := ask.next_reply()).user_properties["code"] == "progress":
                pass
            answers.append(answer.json)
    assert answers[0] == answers[1]
    assert active(site).release == 2


def test_an_order_to_a_device_that_is_not_there_says_so(site: Site, embedded: Broker) -> None:
    with ControlClient(broker=BrokerAddress(embedded.host, embedded.port), connect_timeout_s=0.5) as client:
        with pytest.raises(DeviceOfflineError, match="has not announced itself"):
            client.command(site.topics.device, "list", ListRequest(), InstalledModels)
        with running_agent(site.configure(embedded)) as agent, site.listener(embedded) as heard:
            heard.wait_for(site.topics.status, state="online")
            agent.stop()
            heard.wait_for(site.topics.status, state="offline")
        with pytest.raises(DeviceOfflineError, match="says that it is offline"):
            client.command(site.topics.device, "list", ListRequest(), InstalledModels)


def test_whoever_waits_for_an_agent_that_is_started_again_is_told_so(site: Site, embedded: Broker) -> None:
    config = site.configure(embedded)
    steps: list[CommandProgress] = []
    with control(embedded) as client, running_agent(config) as agent, site.listener(embedded) as heard:
        heard.wait_for(site.topics.status, state="online")

        def end_the_agent(step: CommandProgress) -> None:
            steps.append(step)
            agent.process.kill()
            agent.process.wait()
            stack.enter_context(running_agent(config))

        request = InstallRequest(source=package_of(site))
        with ExitStack() as stack, pytest.raises(DeviceRestartedError):
            client.command(site.topics.device, "install", request, InstalledRelease, on_progress=end_the_agent)
    assert [step.stage for step in steps] == ["received"]
