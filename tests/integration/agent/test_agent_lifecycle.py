"""What the agent does when processes die, queues fill, releases change and brokers go: nothing is lost in silence."""

from __future__ import annotations

import json
import queue
import re
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import psutil
import pytest

from drupelet_host.errors import RemoteError
from drupelet_shared.inference import InferenceRequest, encode_request
from support.agent.agents import run_agent_command, running_agent
from support.agent.asking import asker
from support.agent.sites import Site, worker_of
from support.broker.brokers import LOOPBACK, Broker, find_mosquitto, free_port, mosquitto_broker
from support.broker.proxy import proxy
from support.package.served_packages import slow_model

REQUEST = json.dumps(
    {"inputs": [{"name": "image", "shape": [1, 1, 8, 8], "datatype": "FP32", "data": [0.5] * 64}]}
).encode()
IMAGE = np.full((1, 1, 8, 8), 0.5, np.float32)


@pytest.fixture(scope="session")
def slow() -> bytes:
    """A model that takes about a quarter of a second."""
    return slow_model(products=30, size=768)


def test_a_thousand_requests_from_eight_clients_are_each_answered_once(site: Site, broker: Broker) -> None:
    config = site.configure(broker)
    site.install(config)

    def ask_many(number: int) -> list[bool]:
        with site.client(broker) as client:
            scores = [
                client.infer("digits", {"image": IMAGE * number}, timeout_s=30).outputs["scores"] for _ in range(125)
            ]
        return [bool(np.array_equal(found, scores[0])) for found in scores]

    with site.listener(broker) as heard, running_agent(config) as agent:
        heard.wait_for(site.topics.model_state("digits"), health="ready")
        with ThreadPoolExecutor(8) as pool:
            answers = [answer for batch in pool.map(ask_many, range(8)) for answer in batch]
        assert len(answers) == 1000
        assert all(answers)
        assert agent.stop() == 0


def test_a_full_queue_answers_overloaded_at_once(site: Site, broker: Broker, slow: bytes) -> None:
    config = site.configure(broker, extra="limits.queue_length = 2")
    site.install(config, model=slow)
    with site.listener(broker) as heard, running_agent(config), asker(broker) as ask:
        heard.wait_for(site.topics.model_state("digits"), health="ready")
        # QoS 0 is not held back by Receive Maximum.
        sent = {ask.send(site.topics.infer("digits"), REQUEST, qos=0) for _ in range(12)}
        replies = [ask.next_reply() for _ in sent]
        assert {reply.correlation for reply in replies} == sent
        codes = [reply.user_properties["code"] for reply in replies]
        assert codes[0] == "overloaded"
        assert codes.count("ok") >= 2
        assert set(codes) == {"ok", "overloaded"}
        refused = next(reply.json for reply in replies if reply.user_properties["code"] == "overloaded")
        assert "the limit is 2" in refused["error"]


def test_a_request_that_expires_in_the_queue_is_dropped_and_counted(site: Site, broker: Broker) -> None:
    config = site.configure(broker, interval_s=60.0)
    site.install(config)
    with site.listener(broker) as heard, running_agent(config) as agent, asker(broker) as ask:
        heard.wait_for(site.topics.model_state("digits"), health="ready")
        worker = worker_of(agent.process.pid)
        worker.suspend()
        before = [ask.send(site.topics.infer("digits"), REQUEST) for _ in range(3)]
        ask.send(site.topics.infer("digits"), REQUEST, expiry_s=1)
        after = ask.send(site.topics.infer("digits"), REQUEST)
        time.sleep(1.1)
        worker.resume()
        assert [ask.next_reply().correlation for _ in range(4)] == [*before, after]
        with pytest.raises(queue.Empty):
            ask.next_reply(timeout_s=0.5)
        assert agent.stop() == 0
        # What the last, unfinished window held is published on the way out.
        telemetry = heard.wait_for(site.topics.model_telemetry("digits"))
        assert telemetry["outcomes"] == {"ok": 4, "expired": 1}


def test_a_killed_worker_costs_its_request_and_comes_back(site: Site, broker: Broker, slow: bytes) -> None:
    config = site.configure(broker)
    site.install(config, model=slow)
    with site.listener(broker) as heard, running_agent(config) as agent, asker(broker) as ask:
        heard.wait_for(site.topics.model_state("digits"), health="ready")
        worker = worker_of(agent.process.pid)
        # It stands still, so that it has not answered before it is killed, however fast the machine.
        worker.suspend()
        in_work, prefetched, queued = (ask.send(site.topics.infer("digits"), REQUEST) for _ in range(3))
        time.sleep(0.1)
        worker.kill()
        replies = {reply.correlation: reply for reply in (ask.next_reply() for _ in range(3))}
        assert replies[in_work].json["code"] == "inference_failed"
        assert "SIGKILL" in replies[in_work].json["error"]
        assert replies[prefetched].user_properties["code"] == "ok"
        assert replies[queued].user_properties["code"] == "ok"


def test_a_hanging_worker_is_ended_and_its_request_answered(site: Site, broker: Broker) -> None:
    config = site.configure(broker, extra="limits.inference_timeout_s = 0.5")
    site.install(config)
    with site.listener(broker) as heard, running_agent(config) as agent, asker(broker) as ask:
        heard.wait_for(site.topics.model_state("digits"), health="ready")
        worker_of(agent.process.pid).send_signal(signal.SIGSTOP)
        reply = ask.ask(site.topics.infer("digits"), REQUEST)
        assert reply.json["code"] == "inference_failed"
        assert "did not answer within 0.5 s" in reply.json["error"]
        assert ask.ask(site.topics.infer("digits"), REQUEST).user_properties["code"] == "ok"


def test_workers_end_with_an_agent_that_is_killed_and_the_will_is_sent(site: Site, broker: Broker) -> None:
    config = site.configure(broker)
    site.install(config)
    with site.listener(broker) as heard, running_agent(config) as agent:
        heard.wait_for(site.topics.model_state("digits"), health="ready")
        worker = worker_of(agent.process.pid)
        agent.process.kill()
        agent.process.wait()
        heard.wait_for(site.topics.status, state="offline")
        worker.wait(timeout=5)


@pytest.mark.mosquitto
def test_the_broker_waits_with_the_will_as_long_as_is_configured(site: Site, mosquitto: Broker) -> None:
    config = site.configure(mosquitto, extra="broker.will_delay_s = 3")
    with site.listener(mosquitto) as heard, running_agent(config) as agent:
        heard.wait_for(site.topics.status, state="online")
        agent.process.kill()
        agent.process.wait()
        killed_s = time.monotonic()
        heard.wait_for(site.topics.status, state="offline")
        assert 2.0 < time.monotonic() - killed_s < 10.0


def test_an_agent_that_is_ended_answers_what_it_accepted_first(site: Site, broker: Broker, slow: bytes) -> None:
    config = site.configure(broker)
    site.install(config, model=slow)
    with site.listener(broker) as heard, running_agent(config) as agent, asker(broker) as ask:
        heard.wait_for(site.topics.model_state("digits"), health="ready")
        sent = {ask.send(site.topics.infer("digits"), REQUEST) for _ in range(3)}
        time.sleep(0.2)
        assert agent.stop() == 0
        assert {ask.next_reply().correlation for _ in sent} == sent
        heard.wait_for(site.topics.status, state="offline")


@contextmanager
def steady_requests(site: Site, broker: Broker) -> Iterator[list[str]]:
    """Versions that answered, of requests sent one after the other until the end."""
    stop, versions = threading.Event(), list[str]()

    def ask_on() -> None:
        with site.client(broker) as client:
            while not stop.is_set():
                versions.append(client.infer("digits", {"image": IMAGE}, timeout_s=20).model_version or "")

    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(ask_on)
        try:
            yield versions
        finally:
            stop.set()
            asking.result()


def test_a_new_release_takes_over_without_a_request_lost_and_rolls_back(site: Site, broker: Broker) -> None:
    config = site.configure(broker)
    site.install(config)
    with site.listener(broker) as heard, running_agent(config):
        heard.wait_for(site.topics.model_state("digits"), health="ready")
        with steady_requests(site, broker) as versions:
            site.install(config, release=2)
            heard.wait_for(site.topics.model_state("digits"), release=2, health="ready")
            run_agent_command(config, "rollback", "digits")
            heard.wait_for(site.topics.model_state("digits"), release=1, health="ready")
            time.sleep(0.3)
    changes = [version for version, before in zip(versions, [None, *versions], strict=False) if version != before]
    assert changes == ["1.0.0", "2.0.0", "1.0.0"]


def test_a_release_whose_workers_keep_dying_is_rolled_back_by_itself(site: Site, broker: Broker) -> None:
    config = site.configure(broker)
    site.install(config, release=1)
    site.install(config, release=2)
    with site.listener(broker) as heard, running_agent(config) as agent, asker(broker) as ask:
        heard.wait_for(site.topics.model_state("digits"), release=2, health="ready")
        for _ in range(3):
            _kill_next_worker(agent.process.pid)
        state = heard.wait_for(site.topics.model_state("digits"), release=1, health="ready")
        assert "rolled back from release 2, whose workers keep failing" in state["error"]
        assert ask.ask(site.topics.infer("digits"), REQUEST).json["model_version"] == "1.0.0"
    active = json.loads(run_agent_command(config, "list", "--json").stdout)["digits"]["active"]
    assert active["release"] == 1


def _kill_next_worker(agent_pid: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        workers = psutil.Process(agent_pid).children()
        if workers:
            workers[0].kill()
            workers[0].wait(5)
            return
        time.sleep(0.02)
    raise AssertionError("no worker was started")


@pytest.mark.mosquitto
@pytest.mark.skipif(find_mosquitto() is None, reason="mosquitto is not installed: apt install mosquitto")
class TestBrokerThatComesAndGoes:
    def test_the_agent_waits_for_a_broker_that_is_not_there(self, site: Site) -> None:
        port = free_port()
        absent = Broker(host=LOOPBACK, port=port, port_311=port, kind="mosquitto")
        config = site.configure(absent)
        site.install(config)
        with running_agent(config) as agent:
            time.sleep(1)
            assert re.search(rf"broker {LOOPBACK}:{port}: .*refused", agent.log.read_text(encoding="utf-8"))
            with mosquitto_broker(site.folder, port=port) as broker, site.listener(broker) as heard:
                heard.wait_for(site.topics.status, state="online")
                heard.wait_for(site.topics.model_state("digits"), health="ready")

    def test_every_request_is_answered_while_the_agents_connection_is_cut_again_and_again(
        self, site: Site, mosquitto: Broker
    ) -> None:
        with proxy(mosquitto) as between:
            # mosquitto 2.0 delivers all that waited at once after a reconnect, whatever the Receive Maximum.
            config = site.configure(between.broker, extra="limits.queue_length = 300")
            site.install(config)
            with site.listener(mosquitto) as heard, running_agent(config), site.client(mosquitto) as client:
                heard.wait_for(site.topics.model_state("digits"), health="ready")
                answers = []
                for number in range(6):
                    encoded = encode_request(InferenceRequest(inputs={"image": IMAGE * number}), binary=True)
                    answers += [client.submit("digits", encoded, timeout_s=120) for _ in range(50)]
                    # The agent waits longer before each attempt while its connections do not last.
                    while len(between.sent) <= number:
                        time.sleep(0.01)
                    time.sleep(0.3)
                    between.cut()
                    while between.cuts <= number:
                        time.sleep(0.01)
                results = [answer.result() for answer in answers]
        assert len(results) == 300
        assert between.cuts == 6

    def test_a_broker_that_lost_everything_is_told_again_and_requests_are_answered(self, site: Site) -> None:
        port = free_port()
        config = site.configure(Broker(host=LOOPBACK, port=port, port_311=port, kind="mosquitto"))
        site.install(config)
        with running_agent(config):
            for _ in range(2):
                with mosquitto_broker(site.folder, port=port) as broker, site.listener(broker) as heard:
                    heard.wait_for(site.topics.status, state="online")
                    heard.wait_for(site.topics.model_state("digits"), health="ready")
                    with asker(broker) as ask:
                        assert ask.ask(site.topics.infer("digits"), REQUEST).user_properties["code"] == "ok"


def test_a_retained_request_is_not_answered_at_every_start(site: Site, broker: Broker) -> None:
    config = site.configure(broker)
    site.install(config)
    with site.listener(broker) as heard:
        heard.client.publish(site.topics.infer("digits"), REQUEST, qos=1, retain=True).wait_for_publish(5)
        with running_agent(config) as agent, asker(broker) as ask:
            heard.wait_for(site.topics.model_state("digits"), health="ready")
            assert ask.ask(site.topics.infer("digits"), REQUEST).user_properties["code"] == "ok"
            assert agent.stop() == 0
        assert heard.wait_for(site.topics.status, state="offline")
        assert site.topics.result("digits") not in heard.latest


def test_a_refusal_reaches_the_clients_caller_with_its_code(site: Site, broker: Broker) -> None:
    config = site.configure(broker)
    site.install(config)
    with site.listener(broker) as heard, running_agent(config):
        heard.wait_for(site.topics.model_state("digits"), health="ready")
        with site.client(broker) as client, pytest.raises(RemoteError) as caught:
            client.infer("digits", {"image": IMAGE.astype(np.float64)}, timeout_s=10)
    assert caught.value.device_code == "invalid_input_datatype"
