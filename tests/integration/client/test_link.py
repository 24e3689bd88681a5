"""Small messages through a broker with Nagle's algorithm, as Debian's mosquitto is by default, and without."""

from __future__ import annotations

import statistics
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from paho.mqtt.client import MQTTMessage

from drupelet_host.client import BrokerAddress, DeviceClient
from drupelet_host.client.connection.link import delays_small_messages
from fakes.device import NAME, Answer, double, fake_device
from support.agent.commands import drupelet
from support.broker.brokers import mosquitto_broker

pytestmark = [pytest.mark.mosquitto, pytest.mark.usefixtures("mosquitto")]


@pytest.mark.parametrize(("setting", "is_slow"), [("set_tcp_nodelay false", True), ("set_tcp_nodelay true", False)])
def test_a_broker_that_holds_small_messages_back_is_recognised(tmp_path: Path, setting: str, *, is_slow: bool) -> None:
    with mosquitto_broker(tmp_path, settings=[setting]) as broker:
        assert delays_small_messages(BrokerAddress(broker.host, broker.port)) == is_slow


def test_a_broker_that_is_not_there_or_returns_nothing_is_not_blamed(tmp_path: Path) -> None:
    assert not delays_small_messages(BrokerAddress("127.0.0.1", 1))
    acl = tmp_path / "acl"
    acl.write_text("topic read drupelet/v1/#\n")
    with mosquitto_broker(tmp_path, settings=["set_tcp_nodelay false", f"acl_file {acl}"]) as broker:
        assert not delays_small_messages(BrokerAddress(broker.host, broker.port), timeout_s=0.3)


@pytest.mark.parametrize(("setting", "is_slow"), [("set_tcp_nodelay false", True), ("set_tcp_nodelay true", False)])
def test_infer_and_top_say_what_to_change_where_they_see_the_delay(
    tmp_path: Path, setting: str, *, is_slow: bool
) -> None:
    (tmp_path / "x.json").write_text('{"inputs": [{"name": "x", "datatype": "INT8", "shape": [1], "data": [4]}]}')

    def late(message: MQTTMessage) -> Answer:
        return replace(double(message), delay_s=0.045)

    with mosquitto_broker(tmp_path, settings=[setting]) as broker, fake_device(broker, late):
        words = ("double", str(tmp_path / "x.json"), "--device", NAME, "--broker", broker.url)
        answered = drupelet("infer", *words).stderr
        shown = drupelet("top", "--once", "--wait", "1", "--broker", broker.url).stderr
    for printed in (answered, shown):
        assert ("set_tcp_nodelay true" in printed) == is_slow


def test_a_small_request_does_not_wait_for_acknowledgements_even_at_a_broker_with_nagles_algorithm(
    tmp_path: Path,
) -> None:
    times_s = []
    with (
        mosquitto_broker(tmp_path, settings=["set_tcp_nodelay false"]) as broker,
        fake_device(broker),
        DeviceClient(NAME, broker=BrokerAddress(broker.host, broker.port)) as client,
    ):
        for _ in range(30):
            start = time.perf_counter()
            client.infer("double", {"x": np.array([1], np.float32)}, timeout_s=10)
            times_s.append(time.perf_counter() - start)
    # 41.9 ms without TCP_QUICKACK at both ends, 2.0 ms with it (median on loopback, mosquitto 2.0.11).
    assert statistics.median(times_s[10:]) < 0.02
