"""The agent and the client over ejabberd: a broker that requires accounts and has no shared subscriptions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from drupelet import BrokerAddress, DeviceClient
from drupelet.errors import RemoteError
from drupelet_host.demo.broker import free_port
from support.agent.agents import DEVICE, listener, run_agent_command, running_agent, write_config
from support.broker.brokers import Broker
from support.broker.ejabberd import ejabberd_broker, find_ejabberd
from support.package.served_packages import linear_weights, make_keys, make_package

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_ejabberd() is None, reason="ejabberd is not installed: apt install ejabberd"),
]

IMAGE = np.linspace(-1, 1, 64, dtype=np.float32).reshape(1, 1, 8, 8)
SCORES = IMAGE.reshape(1, 64) @ linear_weights()


@pytest.fixture(scope="module")
def ejabberd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with ejabberd_broker(tmp_path_factory.mktemp("ejabberd")) as broker:
        yield broker


def prepare(folder: Path, broker: Broker, *, extra: str = "") -> Path:
    config = write_config(folder, broker, extra=extra)
    keys = make_keys(folder)
    keys.public.rename(folder / "trust/maker.pub")
    run_agent_command(config, "install", str(make_package(folder, keys)))
    return config


def address(broker: Broker) -> BrokerAddress:
    return BrokerAddress(broker.host, broker.port, username=broker.username, password="any")


def test_requests_are_answered_and_refused(tmp_path: Path, ejabberd: Broker) -> None:
    config = prepare(tmp_path, ejabberd)
    with listener(ejabberd) as heard, running_agent(config) as agent:
        heard.wait_for(heard.topics.model_state("digits"), health="ready")
        with DeviceClient(DEVICE, broker=address(ejabberd)) as client:
            for _ in range(20):
                reply = client.infer("digits", {"image": IMAGE}, timeout_s=10)
                np.testing.assert_allclose(reply.outputs["scores"], SCORES, atol=1e-5)
            with pytest.raises(RemoteError, match="invalid_input_shape"):
                client.infer("digits", {"image": IMAGE[:, :, :4]}, timeout_s=10)
        assert agent.stop() == 0
        heard.wait_for(heard.topics.status, state="offline")


def test_a_killed_agent_is_announced_by_its_will_and_comes_back(tmp_path: Path, ejabberd: Broker) -> None:
    config = prepare(tmp_path, ejabberd)
    with listener(ejabberd) as heard:
        with running_agent(config) as agent:
            heard.wait_for(heard.topics.model_state("digits"), health="ready")
            agent.process.kill()
            heard.wait_for(heard.topics.status, state="offline")
        with running_agent(config), DeviceClient(DEVICE, broker=address(ejabberd)) as client:
            heard.wait_for(heard.topics.status, state="online")
            np.testing.assert_allclose(
                client.infer("digits", {"image": IMAGE}, timeout_s=20).outputs["scores"], SCORES, atol=1e-5
            )


def test_the_agent_outlives_a_restart_of_the_broker(tmp_path: Path) -> None:
    port = free_port()
    folder = tmp_path / "broker"
    folder.mkdir()
    with ejabberd_broker(folder, port=port) as broker:
        config = prepare(tmp_path, broker)
        running = running_agent(config)
        running.__enter__()
    try:
        with ejabberd_broker(folder, port=port) as broker, listener(broker) as heard:
            heard.wait_for(heard.topics.model_state("digits"), health="ready")
            with DeviceClient(DEVICE, broker=address(broker)) as client:
                answer = client.infer("digits", {"image": IMAGE}, timeout_s=20).outputs["scores"]
        np.testing.assert_allclose(answer, SCORES, atol=1e-5)
    finally:
        running.__exit__(None, None, None)


def test_a_pool_on_a_broker_without_shared_subscriptions_leaves_the_device_in_service(
    tmp_path: Path, ejabberd: Broker
) -> None:
    config = prepare(tmp_path, ejabberd, extra='pools = ["kitchen"]')
    with listener(ejabberd) as heard, running_agent(config):
        heard.wait_for(heard.topics.model_state("digits"), health="ready")
        with DeviceClient(DEVICE, broker=address(ejabberd)) as client:
            answer = client.infer("digits", {"image": IMAGE}, timeout_s=10).outputs["scores"]
    np.testing.assert_allclose(answer, SCORES, atol=1e-5)
