"""The agent's life towards its broker: connect, announce, answer, leave."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator

import pytest

from drupelet_agent.app.broker_link import BrokerLink
from drupelet_agent.messaging.home_assistant.discovery import Discovery
from drupelet_agent.messaging.protocols import OnConnected
from drupelet_agent.mqtt.message import Message
from drupelet_agent.serving.byte_budget import ByteBudget
from drupelet_agent.serving.job import Job, Outcome
from drupelet_shared.contract.messages import ModelState
from drupelet_shared.contract.topics import DeviceTopics, MemberTopics, PoolTopics
from fakes.broker_session import FakeSession
from fakes.clock import FakeClock

TOPICS = DeviceTopics("pi")
STATE = ModelState(model="m", version="1.0", release=1, digest="0" * 64, health="ready")


class Models:
    """One model whose jobs the test finishes."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []

    def find(self, model: str, version: str | None) -> Models:
        assert (model, version) == ("m", None)
        return self

    def submit(self, job: Job) -> None:
        self.jobs.append(job)

    def states(self) -> Iterator[ModelState]:
        yield STATE


class Sessions:
    """Opens sessions, and keeps them for the test."""

    def __init__(self) -> None:
        self.opened: list[FakeSession] = []

    def open(self, *, on_connected: OnConnected, on_message: Callable[[Message], None]) -> FakeSession:
        self.opened.append(FakeSession(on_connected=on_connected, on_message=on_message))
        return self.opened[-1]


class Device:
    """A link, its session and its models."""

    def __init__(self, *, discovery: Discovery | None = None) -> None:
        self.models = Models()
        self.sessions = Sessions()
        self.link = BrokerLink(
            TOPICS,
            self.models,
            open_session=self.sessions.open,
            budget=ByteBudget(1000),
            run_id="run",
            outbox_length=2,
            discovery=discovery,
            clock=FakeClock(),
        )

    @property
    def session(self) -> FakeSession:
        return self.sessions.opened[0]

    def published_topics(self) -> list[str]:
        return [publication.topic for publication in self.session.published]


@pytest.fixture
def device() -> Device:
    return Device()


def test_after_each_connect_it_subscribes_and_announces_itself(device: Device) -> None:
    presents: list[bool] = []
    device.link.on_connect(presents.append)
    for present in (False, True):
        device.session.published.clear()
        device.session.connect(session_present=present)
        assert set(device.session.subscriptions) == set(TOPICS.infer_filters)
        assert device.published_topics() == [TOPICS.status, TOPICS.model_state("m")]
    assert presents == [False, True]


def test_a_state_is_published_when_it_changes(device: Device) -> None:
    device.session.connect()
    device.link.publish_state(STATE.model_copy(update={"health": "failed"}))
    assert json.loads(device.session.on_topic(TOPICS.model_state("m"))[-1].payload)["health"] == "failed"


def test_home_assistant_is_told_after_each_connect_and_when_it_starts_itself() -> None:
    device = Device(discovery=Discovery(TOPICS, board="x", interval_s=1))
    device.session.connect()
    config = "homeassistant/device/drupelet_pi/config"
    assert len(device.session.on_topic(config)) == 1
    assert "homeassistant/status" in device.session.subscriptions
    device.session.deliver("homeassistant/status", b"online")
    assert len(device.session.on_topic(config)) == 2
    assert "m_problem" in json.loads(device.session.on_topic(config)[-1].payload)["components"]
    assert len(device.session.on_topic(TOPICS.status)) == 2


def test_it_leaves_after_the_last_acknowledgement_and_says_that_it_goes_offline(device: Device) -> None:
    device.session.connect()
    device.session.holds_acknowledgements = True

    async def leave() -> None:
        packet_id = device.session.deliver(TOPICS.infer("m"), b"{}")
        device.link.close()
        device.models.jobs[0].finish(Outcome(code="ok", payload=b"[1]"))
        asyncio.get_running_loop().call_later(0.02, device.session.acknowledge_publications)
        asyncio.get_running_loop().call_later(0.06, device.session.acknowledge_publications)
        await device.link.leave(drain_s=10)
        assert device.session.acknowledged == [packet_id]

    asyncio.run(leave())
    assert not device.session.connected
    assert json.loads(device.session.published[-1].payload)["state"] == "offline"


def test_requests_whose_replies_are_not_acknowledged_stay_with_the_broker_and_the_will_stands_in_for_the_farewell(
    device: Device,
) -> None:
    device.session.connect()
    device.session.holds_acknowledgements = True

    async def leave() -> None:
        device.session.deliver(TOPICS.infer("m"), b"{}")
        device.models.jobs[0].finish(Outcome(code="ok", payload=b"[1]"))
        device.link.close()
        await device.link.leave(drain_s=0.05)

    asyncio.run(leave())
    assert device.session.acknowledged == []
    assert device.session.connected, "a disconnect in good order would send no will"


def test_it_leaves_at_once_without_a_connection(device: Device) -> None:
    asyncio.run(asyncio.wait_for(device.link.leave(), 0.5))
    assert device.session.published == []


def test_a_reply_that_the_broker_rejects_is_told_in_an_event_once_a_minute_at_most(device: Device) -> None:
    device.session.rejected_topics = ["clients/me"]
    device.session.connect()
    for _ in range(3):
        device.session.deliver(TOPICS.infer("m"), b"{}", response_topic="clients/me")
        device.models.jobs.pop().finish(Outcome(code="ok", payload=b"[1]"))
    (event,) = device.session.on_topic(TOPICS.event)
    assert json.loads(event.payload).items() >= {"kind": "reply", "state": "raised", "value": 1.0}.items()
    assert len(device.session.on_topic(TOPICS.result("m"))) == 3


def test_pools_have_a_session_of_their_own_that_ends_with_the_devices(device: Device) -> None:
    device.link.join_pools(MemberTopics("pi", pools=["door"]), device.sessions.open)
    own, pool = device.sessions.opened

    async def live() -> None:
        running = asyncio.create_task(device.link.run())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert own.connected
        assert pool.connected
        pool.deliver(PoolTopics("door").infer("m"), b"{}")
        assert len(device.models.jobs) == 1
        device.models.jobs[0].finish(Outcome(code="ok", payload=b"[1]"))
        running.cancel()
        device.link.close()
        await device.link.leave(drain_s=1)

    asyncio.run(live())
    assert not own.connected
    assert not pool.connected
    pool.stalled = True
    assert device.link.stalled
