"""What a client or a broker may do to a running agent: it stays on the air, and loses nothing that it acknowledged."""

from __future__ import annotations

import asyncio
import json
import queue
import signal
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from fakes.scripted_broker import (
    LOOPBACK,
    PUBACK,
    PUBLISH,
    SUBSCRIBE,
    Packet,
    Peer,
    ScriptedBroker,
    puback,
    publish,
    scripted_broker,
    suback,
    text,
)
from support.agent.agents import RunningAgent, running_agent
from support.agent.asking import Asker, asker
from support.agent.sites import Site
from support.broker.brokers import Broker, find_mosquitto, mosquitto_broker
from support.broker.raw_client import send_raw
from support.broker.subscriber import subscriber

# The model is not installed: what matters is how its refusal gets there.
REQUEST = b'{"id": "1", "inputs": []}'
COUNT = 10
REPLY = "clients/me"
NEEDS_MOSQUITTO = pytest.mark.skipif(find_mosquitto() is None, reason="mosquitto is not installed")


@contextmanager
def agent_and_asker(site: Site, broker: Broker, *, extra: str = "") -> Iterator[tuple[RunningAgent, Asker]]:
    """An agent that serves, and somebody who asks it."""
    config = site.configure(broker, extra=extra)
    with site.listener(broker) as heard, asker(broker) as ask, running_agent(config) as agent:
        heard.wait_for(site.topics.status, state="online")
        yield agent, ask


def connects(agent: RunningAgent) -> int:
    return agent.log.read_text(encoding="utf-8").count("connected to broker")


HOSTILE_TOPICS = {
    "251 levels": "a/" * 250 + "b",
    "60,000 bytes": "x" * 60_000,
    "a command of another device": "drupelet/v1/other/command/list",
    "another device's model state": "drupelet/v1/other/models/digits/state",
    "another device's status": "drupelet/v1/other/status",
    "a pool": "drupelet/v1/pool/door/infer/digits",
    "Home Assistant's birth message": "homeassistant/status",
    "the broker": "$SYS/broker/uptime",
    "the broker's control": "$CONTROL/dynamic-security/v1",
}


@pytest.mark.mosquitto
@pytest.mark.parametrize("name", HOSTILE_TOPICS)
def test_a_response_topic_that_is_no_clients_own_is_refused_and_nobody_else_notices(
    site: Site, mosquitto: Broker, name: str
) -> None:
    topic = HOSTILE_TOPICS[name]
    reflected: queue.Queue[object] = queue.Queue()
    refused: queue.Queue[bytes] = queue.Queue()
    # mosquitto disconnects a client that publishes or subscribes to a topic that it does not accept.
    watched = "unused" if name in {"251 levels", "60,000 bytes"} or topic.startswith("$") else topic
    with (
        agent_and_asker(site, mosquitto) as (agent, ask),
        subscriber(mosquitto, watched, reflected.put),
        subscriber(mosquitto, site.topics.result("digits"), lambda message: refused.put(message.payload)),
    ):
        ask.send(site.topics.infer("digits"), REQUEST, response_topic=topic)
        assert json.loads(refused.get(timeout=10))["code"] == "invalid_request"
        reply = ask.ask(site.topics.infer("digits"), REQUEST)
        assert reply.user_properties["code"] == "unknown_model"
        assert reflected.empty()
        assert connects(agent) == 1
        assert agent.stop() == 0


@pytest.mark.mosquitto
@NEEDS_MOSQUITTO
@pytest.mark.parametrize(("setting", "characters"), [("max_packet_size 400", 250), ("message_size_limit 300", 400)])
def test_a_reply_that_the_broker_does_not_take_is_replaced_by_one_that_says_so(
    site: Site, setting: str, characters: int
) -> None:
    with mosquitto_broker(site.folder, settings=[setting]) as broker, agent_and_asker(site, broker) as (agent, ask):
        # The refusal names the model, so a long name makes a long reply to a short request.
        reply = ask.ask(f"{site.topics.base}/infer/{'m' * characters}", b"{}")
        assert reply.json["code"] == "payload_too_large"
        assert ask.ask(site.topics.infer("m"), b"{}").json["code"] == "unknown_model"
        assert connects(agent) == 1


@pytest.mark.mosquitto
@pytest.mark.parametrize("qos", [0, 1])
def test_megabytes_of_empty_properties_are_refused_and_hold_nobody_up(site: Site, mosquitto: Broker, qos: int) -> None:
    refused: queue.Queue[bytes] = queue.Queue()
    online = threading.Event()
    bomb = publish(site.topics.infer("digits"), REQUEST, packet_id=qos, properties=b"\x26\0\0\0\0" * 3_000_000)
    # The clients of this test are slower with such properties than the agent, so none of them receives the request.
    config = site.configure(mosquitto)
    with (
        subscriber(
            mosquitto, site.topics.status, lambda message: online.set() if b"online" in message.payload else None
        ),
        subscriber(mosquitto, site.topics.result("digits"), lambda message: refused.put(message.payload)),
        asker(mosquitto) as ask,
        running_agent(config) as agent,
    ):
        assert online.wait(20)
        for _ in range(3):
            send_raw(mosquitto, bomb)
            assert "more than 256 properties" in json.loads(refused.get(timeout=20))["error"]
        assert ask.ask(site.topics.infer("digits"), REQUEST).json["code"] == "unknown_model"
        assert connects(agent) == 1


@pytest.mark.mosquitto
@NEEDS_MOSQUITTO
def test_a_session_that_another_client_took_over_comes_back_and_answers(site: Site) -> None:
    with mosquitto_broker(site.folder) as broker, agent_and_asker(site, broker) as (agent, ask):
        send_raw(broker, b"", client_id=f"drupelet-{site.topics.device}")
        assert ask.ask(site.topics.infer("digits"), REQUEST).json["code"] == "unknown_model"
        assert connects(agent) == 2


@pytest.mark.mosquitto
def test_a_client_identifier_that_nobody_knows_is_not_taken_over(site: Site, mosquitto: Broker) -> None:
    with agent_and_asker(site, mosquitto, extra='broker.client_id = "f3a91c"') as (agent, ask):
        send_raw(mosquitto, b"", client_id=f"drupelet-{site.topics.device}")
        assert ask.ask(site.topics.infer("digits"), REQUEST).json["code"] == "unknown_model"
        assert connects(agent) == 1


def correlation(number: int) -> bytes:
    return f"request {number}".encode()


def request_packet(topic: str, number: int, *, dup: bool = False) -> bytes:
    token = correlation(number)
    properties = b"\x08" + text(REPLY) + b"\x09" + struct.pack("!H", len(token)) + token
    return publish(topic, REQUEST, packet_id=number, properties=properties, flags=8 if dup else 0)


class HoldingBroker:
    """Allows one unacknowledged publication, delivers ten requests, and keeps the PUBACKs of replies when told to.

    Attributes:
        holds: Whether replies are not acknowledged.
        replies: The Correlation Data of each reply that was acknowledged.
        acknowledged: The numbers of the requests that the agent has acknowledged.
        outstanding: The numbers of those that it has not.
    """

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.holds = True
        self.seen: list[int] = []
        self.replies: list[int] = []
        self.acknowledged: list[int] = []
        self.outstanding = list(range(1, COUNT + 1))
        self.connections = 0

    async def serve(self, peer: Peer) -> None:
        self.connections += 1
        self.loop = asyncio.get_running_loop()
        again = self.connections > 1
        # A Receive Maximum of 1.
        await peer.accept(b"\x21\x00\x01", session_present=again)
        while True:
            await self._answer(peer, await peer.receive(), again=again)

    async def _answer(self, peer: Peer, packet: Packet, *, again: bool) -> None:
        if packet.kind == SUBSCRIBE:
            await peer.send(suback(packet.packet_id, bytes([1] * len(packet.filters))))
            if any(self.topic.startswith(one.removesuffix("+")) for one, _ in packet.filters):
                for number in list(self.outstanding):
                    await peer.send(request_packet(self.topic, number, dup=again))
        elif packet.kind == PUBACK:
            self.acknowledged.append(packet.packet_id)
            self.outstanding.remove(packet.packet_id)
        elif packet.kind == PUBLISH and packet.topic == REPLY:
            number = next(n for n in range(COUNT, 0, -1) if correlation(n) in packet.body)
            self.seen.append(number)
            if not self.holds:
                self.replies.append(number)
                await peer.send(puback(packet.packet_id))
        elif packet.kind == PUBLISH and packet.qos:
            await peer.send(puback(packet.packet_id))

    def wait_until(self, is_true: Callable[[], object]) -> None:
        deadline_s = time.monotonic() + 30
        while not is_true():
            assert time.monotonic() < deadline_s, (self.seen, self.replies, self.acknowledged)
            time.sleep(0.02)


def address(broker: ScriptedBroker) -> Broker:
    return Broker(host=LOOPBACK, port=broker.port, port_311=broker.port, kind="mosquitto")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=str)
def test_no_request_whose_reply_the_broker_has_not_acknowledged_is_lost_with_the_agent(
    site: Site, number: signal.Signals
) -> None:
    holding = HoldingBroker(site.topics.infer("digits"))
    with scripted_broker(holding.serve) as broker:
        config = site.configure(address(broker))
        with running_agent(config) as agent:
            holding.wait_until(lambda: holding.seen)
            # The rest wait in the agent.
            time.sleep(0.5)
            assert holding.seen == [1]
            assert holding.acknowledged == []
            agent.process.send_signal(number)
            assert agent.process.wait(20) == (0 if number == signal.SIGTERM else -number)
        assert holding.outstanding == list(range(1, COUNT + 1))
        holding.holds = False
        with running_agent(config) as agent:
            holding.wait_until(lambda: len(holding.acknowledged) == COUNT)
            assert agent.stop() == 0
        assert sorted(holding.replies) == list(range(1, COUNT + 1))
        assert holding.acknowledged == list(range(1, COUNT + 1))


def test_requests_that_were_accepted_are_answered_and_acknowledged_before_a_stop(site: Site) -> None:
    holding = HoldingBroker(site.topics.infer("digits"))
    with scripted_broker(holding.serve) as broker, running_agent(site.configure(address(broker))) as agent:
        holding.wait_until(lambda: holding.seen)
        agent.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        holding.holds = False
        # The PUBACK that was held comes after all.
        peer = broker.peers[0]
        (reply,) = [one for one in peer.received if one.kind == PUBLISH and one.topic == REPLY]
        holding.replies.append(1)
        asyncio.run_coroutine_threadsafe(peer.send(puback(reply.packet_id)), holding.loop).result(5)
        assert agent.process.wait(20) == 0
    assert holding.acknowledged == list(range(1, COUNT + 1))
