"""Connections that break in every way, brokers and agents that end and come back: each request is answered."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest

from drupelet_host.demo.broker import free_port
from support.agent.agents import running_agent
from support.agent.asking import Asker, asker
from support.agent.sites import Site
from support.broker.brokers import Broker, embedded_broker, find_mosquitto, mosquitto_broker
from support.broker.packets import CONNECT, PUBACK, PUBLISH, receive_maximum, split_packets
from support.broker.proxy import Proxy, proxy
from support.package.served_packages import slow_model

REQUEST = json.dumps(
    {"inputs": [{"name": "image", "shape": [1, 1, 8, 8], "datatype": "FP32", "data": [0.5] * 64}]}
).encode()
# Some 50 ms for each inference.
SLOW = slow_model(products=6, size=768)
# Longer than any test, so that what is published on the way out counts every request.
ONE_WINDOW = {"interval_s": 60.0, "extra": "tuning.max_seconds = 0.3"}
NEEDS_MOSQUITTO = pytest.mark.skipif(find_mosquitto() is None, reason="mosquitto is not installed")


def correlations(ask: Asker, count: int) -> set[bytes | None]:
    return {reply.correlation for reply in ask.collect(count)}


def trickle(between: Proxy) -> None:
    between.chunk_bytes, between.delay_s = 17, 0.001
    time.sleep(0.5)
    between.chunk_bytes, between.delay_s = 65_536, 0.0


def delay(between: Proxy) -> None:
    between.delay_s = 0.1
    time.sleep(0.5)
    between.delay_s = 0.0


def stall(between: Proxy) -> None:
    between.hold()
    time.sleep(1)
    between.release()


def stall_and_cut(between: Proxy) -> None:
    """What the agent has sent into the stalled link is lost with it."""
    between.hold()
    time.sleep(0.5)
    between.cut()
    between.release()


FAULTS: dict[str, Callable[[Proxy], None]] = {
    "reset": Proxy.cut,
    "reset in the middle of a packet": lambda between: between.cut_after(301),
    "half closed": Proxy.half_close,
    "trickling": trickle,
    "delayed": delay,
    "stalled": stall,
    "stalled, then reset": stall_and_cut,
}


def test_each_request_is_answered_whatever_becomes_of_the_agents_connection(site: Site, broker: Broker) -> None:
    with proxy(broker) as between, asker(broker) as ask, site.listener(broker) as heard:
        config = site.configure(between.broker, **ONE_WINDOW)
        site.install(config)
        with running_agent(config) as agent:
            heard.wait_for(site.topics.model_state("digits"), health="ready")
            sent, answered = set[bytes](), set[bytes | None]()
            for inflict in FAULTS.values():
                sent |= {ask.send(site.topics.infer("digits"), REQUEST) for _ in range(10)}
                inflict(between)
                sent |= {ask.send(site.topics.infer("digits"), REQUEST) for _ in range(10)}
                while answered != sent:
                    answered.add(ask.next_reply().correlation)
            assert between.cuts >= 4
            assert agent.stop() == 0
        outcomes = heard.wait_for(site.topics.model_telemetry("digits"))["outcomes"]
        # An acknowledgement that is lost with its connection makes the broker send the request once more (QoS 1).
        assert list(outcomes) == ["ok"]
        assert outcomes["ok"] >= 20 * len(FAULTS)


def restartable(kind: str, folder: Path) -> AbstractContextManager[Broker]:
    return embedded_broker() if kind == "embedded" else mosquitto_broker(folder)


@pytest.mark.parametrize(
    "kind", ["embedded", pytest.param("mosquitto", marks=[pytest.mark.mosquitto, NEEDS_MOSQUITTO])]
)
def test_requests_in_work_when_the_broker_is_killed_are_answered_through_the_next_one(site: Site, kind: str) -> None:
    with restartable(kind, site.folder) as first, proxy(first) as to_agent, proxy(first) as to_asker:
        config = site.configure(to_agent.broker, **ONE_WINDOW)
        site.install(config, model=SLOW)
        with running_agent(config), asker(to_asker.broker) as ask:
            with site.listener(first) as heard:
                heard.wait_for(site.topics.model_state("digits"), health="ready")
            ask.subscribed.clear()
            sent = {ask.send(site.topics.infer("digits"), REQUEST) for _ in range(5)}
            answered = {ask.next_reply().correlation}
            # The next broker knows nobody: replies that come before their reader has subscribed would be lost, as are
            # those that this one has taken and not passed on when it ends.
            to_agent.hold()
            time.sleep(0.5)
            with restartable(kind, site.folder) as second:
                for between in (to_agent, to_asker):
                    between.aim(second)
                    between.cut()
                assert ask.subscribed.wait(20)
                to_agent.release()
                while answered != sent:
                    answered.add(ask.next_reply().correlation)
                assert ask.ask(site.topics.infer("digits"), REQUEST).user_properties["code"] == "ok"


@pytest.mark.mosquitto
@NEEDS_MOSQUITTO
def test_a_broker_that_keeps_its_sessions_is_restarted_without_an_answer_lost(site: Site) -> None:
    port = free_port()
    settings = ["persistence true", f"persistence_location {site.folder}/"]
    with ExitStack() as rest:
        with mosquitto_broker(site.folder, port=port, settings=settings, end=signal.SIGTERM) as broker:
            config = site.configure(broker, **ONE_WINDOW)
            site.install(config, model=SLOW)
            rest.enter_context(running_agent(config))
            with site.listener(broker) as heard:
                heard.wait_for(site.topics.model_state("digits"), health="ready")
            ask = rest.enter_context(asker(broker, session_expiry_s=60))
            sent = {ask.send(site.topics.infer("digits"), REQUEST) for _ in range(8)}
            first = ask.next_reply()
        with mosquitto_broker(site.folder, port=port, settings=settings):
            replies = [first, *ask.collect(len(sent) - 1, linger_s=1.0)]
            rest.close()
    # What the broker had taken and not yet acknowledged when it ended comes again.
    assert {reply.correlation for reply in replies} == sent


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=str)
def test_requests_that_an_agent_leaves_or_never_saw_are_answered_by_the_next(
    site: Site, broker: Broker, number: signal.Signals
) -> None:
    config = site.configure(broker, **ONE_WINDOW)
    site.install(config, model=SLOW)
    topic = site.topics.infer("digits")
    with site.listener(broker) as heard, asker(broker) as ask:
        with running_agent(config) as agent:
            heard.wait_for(site.topics.model_state("digits"), health="ready")
            sent = {ask.send(topic, REQUEST) for _ in range(8)}
            answered = {ask.next_reply().correlation}
            agent.process.send_signal(number)
            agent.process.wait(20)
        sent |= {ask.send(topic, REQUEST) for _ in range(3)}
        with running_agent(config):
            while answered != sent:
                answered.add(ask.next_reply().correlation)


def test_a_request_is_acknowledged_after_its_reply_and_the_broker_knows_how_many_there_is_room_for(
    site: Site, broker: Broker
) -> None:
    with proxy(broker) as between, site.listener(broker) as heard, asker(broker) as ask:
        config = site.configure(between.broker, extra="limits.queue_length = 3\ntuning.max_seconds = 0.3")
        site.install(config, model=SLOW)
        with running_agent(config):
            heard.wait_for(site.topics.model_state("digits"), health="ready")
            for _ in range(9):
                ask.send(site.topics.infer("digits"), REQUEST)
            replies = ask.collect(9)
            assert len(replies) == 9
            # Neither broker keeps to what it is told (mosquitto 2.0.11 sent seven), so the queue may run over.
            assert {reply.user_properties["code"] for reply in replies} <= {"ok", "overloaded"}
        (stream,) = between.sent
    packets = list(split_packets(bytes(stream)))
    assert packets[0].kind == CONNECT
    assert receive_maximum(packets[0]) == 3
    replied = acknowledged = 0
    for packet in packets:
        replied += packet.kind == PUBLISH and packet.topic == ask.reply_topic
        acknowledged += packet.kind == PUBACK
        assert acknowledged <= replied
    assert acknowledged == replied == 9
