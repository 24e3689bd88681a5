"""A system that has nothing left for a moment, and a second agent on the same folder: what serves goes on serving."""

from __future__ import annotations

import resource
import subprocess
import time
from pathlib import Path

import pytest

from drupelet_host.client import BrokerAddress
from drupelet_host.client.control.control import ControlClient
from drupelet_host.errors import RemoteError
from drupelet_shared.contract.commands import InstalledModels, ListRequest
from support.agent.agents import agent_command, running_agent, write_config
from support.agent.asking import asker
from support.agent.sites import Site
from support.broker.brokers import Broker

# The model is not installed: what matters is that the agent answers.
REQUEST = b'{"id": "1", "inputs": []}'


def wait_for_log(log: Path, words: str) -> None:
    deadline_s = time.monotonic() + 30
    while words not in log.read_text(encoding="utf-8"):
        assert time.monotonic() < deadline_s, log.read_text(encoding="utf-8")[-2000:]
        time.sleep(0.05)


def test_an_agent_without_a_free_descriptor_serves_on_and_works_again_when_it_has_some(
    site: Site, embedded: Broker
) -> None:
    config = site.configure(embedded, extra="retune.look_s = 0.2")
    with (
        site.listener(embedded) as heard,
        asker(embedded) as ask,
        running_agent(config) as agent,
        ControlClient(broker=BrokerAddress(embedded.host, embedded.port)) as control,
    ):
        heard.wait_for(site.topics.status, state="online")
        control.command(site.topics.device, "list", ListRequest(), InstalledModels)
        before = resource.prlimit(agent.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(agent.process.pid, resource.RLIMIT_NOFILE, (3, before[1]))
        for work in ("telemetry", "guarding the models"):
            wait_for_log(agent.log, f"{work} failed in this round")
        assert ask.ask(site.topics.infer("digits"), REQUEST).json["code"] == "unknown_model"
        with pytest.raises(RemoteError) as caught:
            control.command(site.topics.device, "list", ListRequest(), InstalledModels)
        assert caught.value.device_code == "command_failed"
        resource.prlimit(agent.process.pid, resource.RLIMIT_NOFILE, before)
        for work in ("telemetry", "guarding the models"):
            wait_for_log(agent.log, f"{work} works again")
        control.command(site.topics.device, "list", ListRequest(), InstalledModels)
        assert agent.stop() == 0


def test_a_second_agent_on_the_same_folder_ends_with_what_to_do_and_the_first_serves_on(
    site: Site, embedded: Broker
) -> None:
    config = site.configure(embedded)
    with site.listener(embedded) as heard, asker(embedded) as ask, running_agent(config) as agent:
        heard.wait_for(site.topics.status, state="online")
        other = site.folder / "other"
        other.mkdir()
        second = write_config(other, embedded, device=f"{site.topics.device}-2")
        text = second.read_text(encoding="utf-8").replace('"state"', f'"{site.folder}/state"')
        second.write_text(text, encoding="utf-8")
        result = subprocess.run(agent_command(second, "run"), capture_output=True, text=True, timeout=60, check=False)
        assert result.returncode != 0
        assert "another process is serving from it; give each agent a state_dir" in result.stderr
        assert "Traceback" not in result.stderr
        assert ask.ask(site.topics.infer("digits"), REQUEST).json["code"] == "unknown_model"
        assert agent.stop() == 0
    with running_agent(second) as agent:
        wait_for_log(agent.log, "connected to broker")
        assert agent.stop() == 0
