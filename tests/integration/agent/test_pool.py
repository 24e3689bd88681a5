"""Devices that share a pool's requests: each is answered, also when one of them dies under load.

With mosquitto alone: the embedded broker (rumqttd 0.20) ends with "group must exist" when a member of a pool leaves.
"""

from __future__ import annotations

import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from drupelet_host.client import BrokerAddress, PoolClient
from drupelet_shared.contract.topics import PoolTopics
from drupelet_shared.inference import InferenceRequest, encode_request
from support.agent.agents import RunningAgent, running_agent
from support.agent.asking import asker
from support.agent.commands import drupelet
from support.agent.sites import Site, make_site
from support.broker.brokers import Broker

pytestmark = pytest.mark.mosquitto

IMAGE = np.full((1, 1, 8, 8), 0.5, np.float32)
BODY = encode_request(InferenceRequest(inputs={"image": IMAGE}), binary=True)


def start_members(stack: ExitStack, folder: Path, broker: Broker, pool: str) -> list[tuple[Site, RunningAgent]]:
    """Two agents of the pool that are ready, each in a release of its own, so that answers tell whose they are."""
    members = []
    for release in (1, 2):
        (folder / str(release)).mkdir()
        site = make_site(folder / str(release))
        config = site.configure(broker, extra=f'pools = ["{pool}"]\ntuning.max_seconds = 0.2')
        site.install(config, release=release)
        heard = stack.enter_context(site.listener(broker))
        # Two agents start and measure on what may be one core.
        heard.patience_s = 60.0
        members.append((site, stack.enter_context(running_agent(config))))
        heard.wait_for(site.topics.model_state("digits"), health="ready")
    return members


def test_nothing_is_lost_when_one_of_two_members_is_killed_under_load(tmp_path: Path, mosquitto: Broker) -> None:
    pool = f"door-{uuid.uuid4().hex[:8]}"
    answered: list[str | None] = []
    with ExitStack() as stack:
        members = start_members(stack, tmp_path, mosquitto, pool)
        client = stack.enter_context(PoolClient(pool, broker=BrokerAddress(mosquitto.host, mosquitto.port)))

        def ask(_: int) -> None:
            answered.append(client.submit("digits", BODY, timeout_s=100).result().model_version)

        with ThreadPoolExecutor(8) as threads:
            asking = [threads.submit(ask, number) for number in range(400)]
            while len(answered) < 100:
                time.sleep(0.01)
            members[0][1].process.kill()
            members[0][1].process.wait()
            before = len(answered)
            for one in asking:
                one.result()
        assert len(answered) == 400
        assert before < 400
        assert set(answered[:before]) == {"1.0.0", "2.0.0"}
        # What is sent from now on goes to the other at once.
        assert {client.infer("digits", {"image": IMAGE}, timeout_s=60).model_version for _ in range(5)} == {"2.0.0"}


def test_a_pool_is_asked_from_the_command_line_and_by_version(tmp_path: Path, mosquitto: Broker) -> None:
    site = make_site(tmp_path)
    config = site.configure(mosquitto, extra='pools = ["hall", "door"]')
    site.install(config)
    np.save(tmp_path / "image.npy", IMAGE)
    where = ("--broker", mosquitto.url, "--timeout", "20")
    with running_agent(config), site.listener(mosquitto) as heard, asker(mosquitto) as ask:
        heard.wait_for(site.topics.model_state("digits"), health="ready")
        words = ("infer", "digits", str(tmp_path / "image.npy"), "--input", "image", *where)
        assert "hall answered in" in drupelet(*words, "--pool", "hall").stderr
        refused = ask.ask(PoolTopics("door").infer("digits", "9.0.0"), b"{}")
        assert refused.json["code"] == "unknown_model"
        # A pool is nobody's way to have a device give itself requests.
        ask.send(site.topics.infer("digits"), b"{}", response_topic=PoolTopics("door").infer("digits"))
        assert heard.wait_for(site.topics.result("digits"))["code"] == "invalid_request"
    assert "name the target: --device NAME or --pool NAME" in drupelet(*words, status=2).stderr
