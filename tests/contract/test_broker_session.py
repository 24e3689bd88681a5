"""What an MQTT session promises to the messaging layer: the fake of the unit tests, and the client over mosquitto.

The embedded broker breaks the specification here: rumqttd 0.20 does not mark what it delivers again.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

import pytest

from drupelet_agent.messaging.protocols import BrokerSession
from drupelet_agent.mqtt.connection import BrokerConnection
from drupelet_agent.mqtt.message import Message, Publication
from drupelet_agent.mqtt.options import ConnectionOptions
from drupelet_agent.mqtt.outcome import PublishOutcome
from fakes.broker_session import FakeSession
from support.broker.brokers import Broker
from support.broker.proxy import Proxy, proxy

_PATIENCE_S = 10.0


@dataclass
class Peer:
    """A session under test, and everything that it passed on."""

    session: BrokerSession = field(init=False)
    lose_connection: Callable[[], Awaitable[None]] = field(init=False)
    presents: list[bool] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    outcomes: list[PublishOutcome] = field(default_factory=list)
    acknowledges: bool = True
    topic: str = field(default_factory=lambda: f"contract/{uuid.uuid4().hex}")

    def on_connected(self, *, session_present: bool) -> None:
        self.presents.append(session_present)

    def on_message(self, message: Message) -> None:
        self.messages.append(message)
        if message.qos and self.acknowledges:
            self.session.acknowledge(message.mid)

    def publish(self, payload: bytes = b"x", *, qos: int = 1, retain: bool = False) -> None:
        publication = Publication(self.topic, payload, qos=qos, retain=retain)
        self.session.publish(publication, on_outcome=lambda outcome, _: self.outcomes.append(outcome))


async def eventually(is_true: Callable[[], bool]) -> None:
    deadline_s = asyncio.get_running_loop().time() + _PATIENCE_S
    while not is_true():
        assert asyncio.get_running_loop().time() < deadline_s, "waited in vain"
        await asyncio.sleep(0.01)


def fake_peer() -> Peer:
    peer = Peer()
    session = FakeSession(on_connected=peer.on_connected, on_message=peer.on_message)

    async def lose_connection() -> None:
        session.lose_connection()
        session.connect(session_present=True)

    peer.session, peer.lose_connection = session, lose_connection
    return peer


def real_peer(between: Proxy) -> Peer:
    peer = Peer()
    options = ConnectionOptions(
        host=between.broker.host, port=between.broker.port, client_id=f"contract-{uuid.uuid4().hex[:12]}"
    )
    peer.session = BrokerConnection(options, on_connected=peer.on_connected, on_message=peer.on_message)

    async def lose_connection() -> None:
        between.cut()
        await eventually(lambda: len(peer.presents) == 2)

    peer.lose_connection = lose_connection
    return peer


@asynccontextmanager
async def running(peer: Peer) -> AsyncIterator[Peer]:
    task = asyncio.create_task(peer.session.run())
    try:
        await eventually(lambda: peer.session.connected)
        yield peer
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await peer.session.disconnect()


@pytest.fixture(params=["fake", pytest.param("mosquitto", marks=pytest.mark.mosquitto)])
def make_peer(request: pytest.FixtureRequest) -> Iterator[Callable[[], Peer]]:
    if request.param == "fake":
        yield fake_peer
        return
    broker = request.getfixturevalue("mosquitto")
    assert isinstance(broker, Broker)
    with proxy(broker) as between:
        yield partial(real_peer, between)


def test_it_connects_when_it_runs_and_says_that_there_was_no_session(make_peer: Callable[[], Peer]) -> None:
    async def check() -> None:
        peer = make_peer()
        assert not peer.session.connected
        assert peer.session.broker is None
        assert not peer.session.status.connected
        async with running(peer):
            assert peer.presents == [False]
            assert peer.session.broker is not None
            assert peer.session.status == (True, None, "")
            assert not peer.session.stalled
        assert not peer.session.connected

    asyncio.run(check())


@pytest.mark.parametrize("qos", [0, 1])
def test_a_publication_has_one_outcome_and_reaches_its_subscriber(make_peer: Callable[[], Peer], qos: int) -> None:
    async def check() -> None:
        async with running(make_peer()) as peer:
            peer.session.subscribe(peer.topic)
            peer.publish(b"hello", qos=qos)
            await eventually(lambda: bool(peer.messages and peer.outcomes))
            await asyncio.sleep(0.05)
            assert peer.outcomes == [PublishOutcome.ACKNOWLEDGED]
            (message,) = peer.messages
            assert (message.topic, message.payload, message.qos) == (peer.topic, b"hello", qos)
            assert peer.session.pending_bytes == 0

    asyncio.run(check())


def test_without_a_connection_qos_1_waits_and_qos_0_is_dropped(make_peer: Callable[[], Peer]) -> None:
    async def check() -> None:
        peer = make_peer()
        peer.publish(qos=0)
        assert peer.outcomes == [PublishOutcome.UNSENT]
        peer.publish(qos=1)
        assert len(peer.outcomes) == 1
        assert peer.session.pending_bytes > 0
        async with running(peer):
            await eventually(lambda: len(peer.outcomes) == 2)
            assert peer.outcomes[1] is PublishOutcome.ACKNOWLEDGED

    asyncio.run(check())


@pytest.mark.parametrize("retained", [False, True])
def test_retained_messages_come_where_they_are_asked_for(make_peer: Callable[[], Peer], *, retained: bool) -> None:
    async def check() -> None:
        async with running(make_peer()) as peer:
            peer.publish(b"kept", retain=True)
            await eventually(lambda: bool(peer.outcomes))
            peer.session.subscribe(peer.topic, retained=retained)
            peer.publish(b"new")
            await eventually(lambda: any(message.payload == b"new" for message in peer.messages))
            assert any(message.retain for message in peer.messages) == retained

    asyncio.run(check())


def test_a_message_that_is_not_acknowledged_comes_again_with_the_session(make_peer: Callable[[], Peer]) -> None:
    async def check() -> None:
        async with running(make_peer()) as peer:
            peer.acknowledges = False
            peer.session.subscribe(peer.topic)
            peer.publish()
            await eventually(lambda: len(peer.messages) == 1)
            peer.acknowledges = True
            await peer.lose_connection()
            await eventually(lambda: len(peer.messages) == 2)
            assert peer.presents == [False, True]
            first, second = peer.messages
            assert second.dup
            assert first.mid == second.mid

    asyncio.run(check())


def test_what_is_corked_still_leaves(make_peer: Callable[[], Peer]) -> None:
    async def check() -> None:
        async with running(make_peer()) as peer:
            with peer.session.corked():
                peer.publish()
                peer.publish()
            await eventually(lambda: len(peer.outcomes) == 2)

    asyncio.run(check())


def test_a_publication_that_is_unacknowledged_when_the_session_ends_is_dropped(
    make_peer: Callable[[], Peer],
) -> None:
    async def check() -> None:
        peer = make_peer()
        peer.publish()
        await peer.session.disconnect()
        assert peer.outcomes == [PublishOutcome.UNSENT]

    asyncio.run(check())
