"""A member of pools, on a session of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from drupelet_agent.messaging.pool import PoolMembership
from drupelet_agent.messaging.protocols import OnConnected
from drupelet_agent.mqtt.message import Message
from drupelet_agent.serving.byte_budget import ByteBudget
from drupelet_agent.serving.job import Job, Outcome
from drupelet_shared.contract.topics import MemberTopics, PoolTopics
from fakes.broker_session import FakeSession
from fakes.clock import FakeClock

POOL = PoolTopics("door")
TOPICS = MemberTopics("pi", pools=["door", "gate"])


class Member:
    """A membership whose session the test plays the broker of."""

    def __init__(self) -> None:
        self.sessions: list[FakeSession] = []
        self.jobs: list[Job] = []
        self.budget = ByteBudget(1000)
        self.membership = PoolMembership(
            TOPICS,
            lambda *_: self,
            open_session=self._open,
            budget=self.budget,
            on_undeliverable=print,
            clock=FakeClock(),
        )

    @property
    def session(self) -> FakeSession:
        (session,) = self.sessions
        return session

    def submit(self, job: Job) -> None:
        self.jobs.append(job)

    def _open(self, *, on_connected: OnConnected, on_message: Callable[[Message], None]) -> FakeSession:
        self.sessions.append(FakeSession(on_connected=on_connected, on_message=on_message))
        return self.session


@pytest.fixture
def member() -> Member:
    return Member()


def test_it_subscribes_to_its_share_of_every_pool(member: Member) -> None:
    member.session.connect()
    assert set(member.session.subscriptions) == {*POOL.shared_filters, *PoolTopics("gate").shared_filters}


def test_a_request_to_a_pool_is_answered_on_its_response_topic_and_then_acknowledged(member: Member) -> None:
    member.session.connect()
    packet_id = member.session.deliver(POOL.infer("m", "1.0"), b"{}", response_topic="clients/me")
    assert member.session.acknowledged == []
    member.jobs[0].finish(Outcome(code="ok", payload=b"[1]"))
    assert [one.payload for one in member.session.on_topic("clients/me")] == [b"[1]"]
    assert member.session.acknowledged == [packet_id]


def test_a_refusal_without_a_response_topic_goes_to_the_devices_own_result_topic(member: Member) -> None:
    member.session.connect()
    member.session.deliver(POOL.infer("m"), bytes(2000), response_topic="a/#")
    assert len(member.session.on_topic(TOPICS.result("m"))) == 1


def test_requests_to_pools_count_against_the_devices_own_budget(member: Member) -> None:
    member.session.connect()
    member.session.deliver(POOL.infer("m"), bytes(400))
    assert member.budget.held_bytes == 400


def test_it_leaves_after_the_last_acknowledgement(member: Member) -> None:
    member.session.connect()
    member.session.holds_acknowledgements = True

    async def leave() -> None:
        packet_id = member.session.deliver(POOL.infer("m"), b"{}")
        member.jobs[0].finish(Outcome(code="ok", payload=b"[1]"))
        member.membership.close()
        member.session.deliver(POOL.infer("m"), b"{}")
        assert len(member.jobs) == 1
        asyncio.get_running_loop().call_later(0.02, member.session.acknowledge_publications)
        await member.membership.leave(timeout_s=10)
        assert member.session.acknowledged == [packet_id]
        assert not member.session.connected

    asyncio.run(leave())


def test_it_stalls_with_its_connection(member: Member) -> None:
    assert not member.membership.stalled
    member.session.stalled = True
    assert member.membership.stalled
