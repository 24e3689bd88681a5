"""A worker that crashes or allocates too much costs the request it was at, and nobody else anything."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

from support.agent.agents import running_agent
from support.agent.asking import Asker, asker
from support.agent.sites import Site, worker_of
from support.broker.brokers import Broker
from support.package.served_packages import greedy_model, slow_model


def request(*, brightness: float = 0.5) -> bytes:
    tensor = {"name": "image", "shape": [1, 1, 8, 8], "datatype": "FP32", "data": [brightness] * 64}
    return json.dumps({"inputs": [tensor]}).encode()


@contextmanager
def two_askers(broker: Broker) -> Iterator[tuple[Asker, Asker]]:
    with asker(broker) as one, asker(broker, name="other") as other:
        yield one, other


def ask_around(ask: Asker, topic: str, worker: psutil.Process, number: signal.Signals) -> list[str]:
    """Three requests, and a signal to the worker once it has the first: the codes of the answers, in that order."""
    # A stopped worker stays at the first request until the signal meets it, however busy the machine is.
    worker.suspend()
    sent = [ask.send(topic, request()) for _ in range(3)]
    time.sleep(0.3)
    worker.send_signal(number)
    with suppress(psutil.NoSuchProcess):
        worker.resume()
    codes = {reply.correlation: reply.user_properties["code"] for reply in ask.collect(len(sent))}
    return [codes[correlation] for correlation in sent]


def test_a_worker_that_crashes_costs_one_request_each_time(site: Site, broker: Broker) -> None:
    config = site.configure(broker, interval_s=60.0)
    site.install(config)
    topic = site.topics.infer("digits")
    with site.listener(broker) as heard, running_agent(config) as agent, asker(broker) as ask:
        heard.wait_for(site.topics.model_state("digits"), health="ready")
        for number in (signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL):
            codes = ask_around(ask, topic, worker_of(agent.process.pid), number)
            assert codes == ["inference_failed", "ok", "ok"], number
        assert agent.stop() == 0
        assert heard.wait_for(site.topics.model_telemetry("digits"))["outcomes"] == {"inference_failed": 3, "ok": 6}


def test_a_worker_that_needs_more_than_its_limit_answers_so_and_the_other_model_does_not_notice(
    site: Site, broker: Broker
) -> None:
    config = site.configure(broker, extra='limits.memory = "800MB"')
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
    config = site.configure(broker, extra="limits.queue_length = 16")
    site.install(config, name="slow", model=slow_model(products=1, size=64))
    site.install(config, name="fast")
    with site.listener(broker) as heard, running_agent(config) as agent, two_askers(broker) as (ask, other):
        digest = heard.wait_for(site.topics.model_state("slow"), health="ready")["digest"]
        heard.wait_for(site.topics.model_state("fast"), health="ready")
        (worker,) = (
            child for child in psutil.Process(agent.process.pid).children() if digest in " ".join(child.cmdline())
        )
        worker.suspend()
        # QoS 0 is not held back by the broker, so that the queue runs over: 16 wait, 2 are with the worker.
        sent = {ask.send(site.topics.infer("slow"), request(), qos=0) for _ in range(40)}
        refused = [ask.next_reply() for _ in range(22)]
        assert {reply.user_properties["code"] for reply in refused} == {"overloaded"}
        for _ in range(3):
            assert other.ask(site.topics.infer("fast"), request()).user_properties["code"] == "ok"
        assert ask.replies.empty()
        worker.resume()
        answered = ask.collect(18)
        assert {reply.user_properties["code"] for reply in answered} == {"ok"}
        assert {reply.correlation for reply in [*refused, *answered]} == sent
        assert len(answered) == 18


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
