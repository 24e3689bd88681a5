"""A worker that crashes, hangs or allocates too much costs the request it was at, and nobody else anything."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.agents import running_agent
from support.asking import Asker, asker
from support.brokers import Broker
from support.served_packages import greedy_model, slow_model
from support.sites import Site, make_site, worker_of

# A quarter of a second for each inference.
SLOW = slow_model(products=30, size=768)


def request(*, brightness: float = 0.5) -> bytes:
    tensor = {"name": "image", "shape": [1, 1, 8, 8], "datatype": "FP32", "data": [brightness] * 64}
    return json.dumps({"inputs": [tensor]}).encode()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path)


@contextmanager
def two_askers(broker: Broker) -> Iterator[tuple[Asker, Asker]]:
    with asker(broker) as one, asker(broker, name="other") as other:
        yield one, other


def ask_around(ask: Asker, topic: str, pid: int, number: signal.Signals) -> list[str]:
    """Three requests, and a signal to the worker while it is at the first: the codes of the answers, in that order."""
    sent = [ask.send(topic, request()) for _ in range(3)]
    time.sleep(0.15)
    worker_of(pid).send_signal(number)
    codes = {reply.correlation: reply.user_properties["code"] for reply in ask.collect(len(sent))}
    return [codes[correlation] for correlation in sent]


def test_a_worker_that_crashes_or_hangs_costs_one_request_each_time(site: Site, broker: Broker) -> None:
    config = site.configure(broker, extra="limits.inference_timeout_s = 1.5\ntuning.max_seconds = 0.3", interval_s=60.0)
    site.install(config, model=SLOW)
    topic = site.topics.infer("digits")
    with site.listener(broker) as heard, running_agent(config) as agent, asker(broker) as ask:
        heard.wait_for(site.topics.model_state("digits"), health="ready")
        for number in (signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL, signal.SIGSTOP):
            assert ask_around(ask, topic, agent.process.pid, number) == ["inference_failed", "ok", "ok"], number
        assert agent.stop() == 0
        assert heard.wait_for(site.topics.model_telemetry("digits"))["outcomes"] == {"inference_failed": 4, "ok": 8}


def test_a_worker_that_needs_more_than_its_limit_answers_so_and_the_other_model_does_not_notice(
    site: Site, broker: Broker
) -> None:
    config = site.configure(broker, extra='limits.memory = "500MB"')
    site.install(config, name="digits")
    site.install(config, name="greedy", model=greedy_model())
    greedy, digits = site.topics.infer("greedy"), site.topics.infer("digits")
    with site.listener(broker) as heard, running_agent(config), two_askers(broker) as (ask, other):
        for model in ("digits", "greedy"):
            heard.wait_for(site.topics.model_state(model), health="ready")
        stop, codes = threading.Event(), list[str]()

        def ask_on() -> None:
            while not stop.is_set():
                codes.append(other.ask(digits, request()).user_properties["code"])

        asking = threading.Thread(target=ask_on)
        asking.start()
        try:
            # Ever more, until it is too much: 2 MB to 2 GB, twice in each inference.
            answers = [
                ask.ask(greedy, request(brightness=brightness)).user_properties["code"]
                for brightness in (0.5, 5.0, 10.0, 200.0, 500.0, 0.5, 500.0, 5.0)
            ]
        finally:
            stop.set()
            asking.join()
        assert answers == ["ok", "ok", "ok"] + ["inference_failed"] * 2 + ["ok", "inference_failed", "ok"]
        assert set(codes) == {"ok"}


def test_a_model_with_a_full_queue_does_not_keep_another_waiting(site: Site, broker: Broker) -> None:
    config = site.configure(broker, extra="limits.queue_length = 16\ntuning.max_seconds = 0.3")
    site.install(config, name="slow", model=SLOW)
    site.install(config, name="fast")
    with site.listener(broker) as heard, running_agent(config), two_askers(broker) as (ask, other):
        for model in ("slow", "fast"):
            heard.wait_for(site.topics.model_state(model), health="ready")
        # QoS 0 is not held back by the broker, so the slow model's queue runs over while the fast one is asked.
        sent = {ask.send(site.topics.infer("slow"), request(), qos=0) for _ in range(40)}
        for _ in range(3):
            assert other.ask(site.topics.infer("fast"), request()).user_properties["code"] == "ok"
        codes = {reply.correlation: reply.user_properties["code"] for reply in list(ask.replies.queue)}
        assert list(codes.values()).count("ok") < 8
        replies = ask.collect(len(sent))
        assert {reply.correlation for reply in replies} == sent
        assert len(replies) == len(sent)
        assert {reply.user_properties["code"] for reply in replies} == {"ok", "overloaded"}


def test_a_request_that_numpy_would_choke_on_is_refused_and_costs_no_worker(site: Site, embedded: Broker) -> None:
    config = site.configure(embedded)
    site.install(config)
    shape = [0, 2**31 - 1, 2**31 - 1, 2**31 - 1]
    odd = {"inputs": [{"name": "image", "shape": shape, "datatype": "FP32", "data": []}]}
    with site.listener(embedded) as heard, running_agent(config) as agent, asker(embedded) as ask:
        heard.wait_for(site.topics.model_state("digits"), health="ready")
        worker = worker_of(agent.process.pid)
        assert ask.ask(site.topics.infer("digits"), json.dumps(odd).encode()).json["code"] == "invalid_input_shape"
        assert worker_of(agent.process.pid) == worker
