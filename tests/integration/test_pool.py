"""Devices that share a pool's requests: each is answered, also when one of them dies under load."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from drupelet_host.client import BrokerAddress, PoolClient
from drupelet_shared.inference import InferenceRequest, encode_request
from drupelet_shared.topics import PoolTopics
from support.agents import RunningAgent, running_agent
from support.asking import asker
from support.brokers import Broker
from support.commands import drupelet
from support.served_packages import slow_model
from support.sites import Site, make_site

IMAGE = np.full((1, 1, 8, 8), 0.5, np.float32)
BODY = encode_request(InferenceRequest(inputs={"image": IMAGE}), binary=True)


@pytest.fixture(scope="session")
def slow() -> bytes:
    """A model that takes some 20 ms, so that there are always requests in work."""
    return slow_model(products=3, size=768)


def start_members(
    stack: ExitStack, folder: Path, broker: Broker, pool: str, *, model: bytes
) -> list[tuple[Site, RunningAgent]]:
    """Two agents of the pool that are ready, each in a release of its own, so that answers tell whose they are."""
    members = []
    for release in (1, 2):
        (folder / str(release)).mkdir()
        site = make_site(folder / str(release))
        config = site.configure(broker, extra=f'pools = ["{pool}"]\ntuning.max_seconds = 0.2')
        site.install(config, model=model, release=release)
        heard = stack.enter_context(site.listener(broker))
        # Two agents start and measure on what may be one core.
        heard.patience_s = 60.0
        members.append((site, stack.enter_context(running_agent(config))))
        heard.wait_for(site.topics.model_state("digits"), health="ready")
    return members


def test_nothing_is_lost_when_one_of_two_members_is_killed_under_load(
    tmp_path: Path, broker: Broker, slow: bytes
) -> None:
    pool = f"door-{tmp_path.name[-8:]}"
    with ExitStack() as stack:
        members = start_members(stack, tmp_path, broker, pool, model=slow)
        address = BrokerAddress(broker.host, broker.port)
        client = stack.enter_context(PoolClient(pool, broker=address, again_after_s=1.0))
        first = [client.submit("digits", BODY, timeout_s=60) for _ in range(60)]
        versions = Counter(answer.result().model_version for answer in first)
        assert set(versions) == {"1.0.0", "2.0.0"}
        answers = [client.submit("digits", BODY, timeout_s=90) for _ in range(100)]
        members[0][1].process.kill()
        members[0][1].process.wait()
        answers += [client.submit("digits", BODY, timeout_s=90) for _ in range(100)]
        found = [answer.result() for answer in answers]
        assert len(found) == 200
        # What is sent from now on goes to the other at once.
        last = [client.submit("digits", BODY, timeout_s=60).result().model_version for _ in range(5)]
        assert last == ["2.0.0"] * 5


def test_a_pool_is_asked_from_the_command_line_and_by_version(tmp_path: Path, embedded: Broker) -> None:
    site = make_site(tmp_path)
    config = site.configure(embedded, extra='pools = ["hall", "door"]')
    site.install(config)
    np.save(tmp_path / "image.npy", IMAGE)
    where = ("--broker", embedded.url, "--timeout", "20")
    with running_agent(config), site.listener(embedded) as heard, asker(embedded) as ask:
        heard.wait_for(site.topics.model_state("digits"), health="ready")
        words = ("infer", "digits", str(tmp_path / "image.npy"), "--input", "image", *where)
        assert "hall answered in" in drupelet(*words, "--pool", "hall").stderr
        refused = ask.ask(PoolTopics("door").infer("digits", "9.0.0"), b"{}")
        assert refused.json["code"] == "unknown_model"
        # A pool is nobody's way to have a device give itself requests.
        ask.send(site.topics.infer("digits"), b"{}", response_topic=PoolTopics("door").infer("digits"))
        assert heard.wait_for(site.topics.result("digits"))["code"] == "invalid_request"
    assert "say who is to answer" in drupelet(*words, status=2).stderr
