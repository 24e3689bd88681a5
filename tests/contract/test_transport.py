"""What every `Transport` promises: the one over the network, over both brokers, and the fake that unit tests use."""

from __future__ import annotations

import queue
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import pytest

from drupelet_host.client import BrokerAddress
from drupelet_host.client.connection.connection import Connection
from drupelet_host.client.connection.transport import (
    MessageProperties,
    ReceivedMessage,
    Transport,
    TransportFactory,
)
from drupelet_host.errors import BrokerError
from fakes.mqtt import ADDRESS, FakeBroker
from support.broker.brokers import Broker

PATIENCE_S = 10.0
ABSENCE_S = 0.3


@dataclass
class Peer:
    """An open transport and the messages it has handed over."""

    transport: Transport
    received: queue.SimpleQueue[ReceivedMessage] = field(default_factory=queue.SimpleQueue)

    def next(self) -> ReceivedMessage:
        return self.received.get(timeout=PATIENCE_S)

    def is_silent(self) -> bool:
        try:
            self.received.get(timeout=ABSENCE_S)
        except queue.Empty:
            return True
        return False


@dataclass
class Network:
    """Makes open transports of one broker."""

    factory: TransportFactory
    address: BrokerAddress
    base: str = field(default_factory=lambda: f"contract/{uuid.uuid4().hex}")

    @contextmanager
    def peer(self, topic: str, *, keeps_session: bool = True) -> Iterator[Peer]:
        peer = Peer(self.factory(self.address, keeps_session=keeps_session))
        peer.transport.open(f"{self.base}/{topic}", on_message=peer.received.put, timeout_s=PATIENCE_S)
        try:
            yield peer
        finally:
            peer.transport.close()


@pytest.fixture(params=["fake", "embedded", pytest.param("mosquitto", marks=pytest.mark.mosquitto)])
def network(request: pytest.FixtureRequest) -> Network:
    if request.param == "fake":
        return Network(FakeBroker().connect, ADDRESS)
    broker = request.getfixturevalue(request.param)
    assert isinstance(broker, Broker)
    return Network(Connection, BrokerAddress(broker.host, broker.port))


def test_a_message_arrives_with_its_topic_payload_and_properties(network: Network) -> None:
    properties = MessageProperties(
        correlation_data=b"\x00\x01",
        content_type="application/json",
        user_properties=(("a", "1"), ("a", "2")),
    )
    with network.peer("x") as peer:
        peer.transport.publish(f"{network.base}/x", b"{}", properties)
        message = peer.next()
    assert (message.topic, message.payload, message.is_retained) == (f"{network.base}/x", b"{}", False)
    assert (message.correlation_data, message.content_type) == (b"\x00\x01", "application/json")
    assert message.user_properties == (("a", "1"), ("a", "2"))


def test_a_message_without_properties_has_none(network: Network) -> None:
    with network.peer("x") as peer:
        peer.transport.publish(f"{network.base}/x", b"")
        message = peer.next()
    assert (message.correlation_data, message.content_type, message.user_properties) == (None, None, ())


def test_messages_of_one_client_arrive_in_their_order(network: Network) -> None:
    with network.peer("x") as peer:
        for number in range(50):
            peer.transport.publish(f"{network.base}/x", str(number).encode())
        assert [int(peer.next().payload) for _ in range(50)] == list(range(50))


def test_a_message_goes_to_every_client_that_subscribes_to_its_topic_and_to_no_other(network: Network) -> None:
    with ExitStack() as stack:
        first, second, third = (stack.enter_context(network.peer(topic)) for topic in ("a/+", "a/b", "c"))
        first.transport.publish(f"{network.base}/a/b", b"1")
        assert first.next().payload == second.next().payload == b"1"
        assert third.is_silent()


@pytest.mark.parametrize("keeps_session", [True, False])
def test_a_retained_message_reaches_a_later_subscriber_and_says_that_it_is_retained(
    network: Network, *, keeps_session: bool
) -> None:
    confirmed: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    with network.peer("other") as peer:
        peer.transport.publish(f"{network.base}/state", b"now", retain=True, on_confirmed=confirmed.put)
        assert confirmed.get(timeout=PATIENCE_S) is None
        with network.peer("state", keeps_session=keeps_session) as later:
            message = later.next()
            assert (message.payload, message.is_retained) == (b"now", True)
            later.transport.publish(f"{network.base}/state", b"new", retain=True)
            assert later.next().is_retained is False


def test_an_empty_retained_message_deletes_what_the_broker_keeps(network: Network) -> None:
    confirmed: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    with network.peer("other") as peer:
        for payload in (b"now", b""):
            peer.transport.publish(f"{network.base}/state", payload, retain=True, on_confirmed=confirmed.put)
            confirmed.get(timeout=PATIENCE_S)
        with network.peer("state") as later:
            assert later.is_silent()


def test_a_topic_is_received_from_subscribe_to_unsubscribe(network: Network) -> None:
    confirmed: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    with network.peer("other") as peer, network.peer("sender") as sender:
        sender.transport.publish(f"{network.base}/x", b"now", retain=True, on_confirmed=confirmed.put)
        confirmed.get(timeout=PATIENCE_S)
        peer.transport.subscribe(f"{network.base}/x")
        assert peer.next().payload == b"now"
        peer.transport.unsubscribe(f"{network.base}/x")
        # The broker handles one client's packets in order, so this one comes after the unsubscription.
        peer.transport.publish(f"{network.base}/other", b"mark")
        assert peer.next().payload == b"mark"
        sender.transport.publish(f"{network.base}/x", b"later")
        assert peer.is_silent()


def test_every_client_has_an_identifier_of_its_own(network: Network) -> None:
    with network.peer("a") as first, network.peer("a") as second:
        assert first.transport.client_id != second.transport.client_id


def test_a_client_is_connected_from_open_to_close(network: Network) -> None:
    with network.peer("a") as peer:
        assert peer.transport.is_connected
    assert not peer.transport.is_connected


def test_a_closed_client_hands_over_nothing_more(network: Network) -> None:
    with network.peer("a") as first:
        with network.peer("a") as second:
            pass
        first.transport.publish(f"{network.base}/a", b"1")
        assert first.next().payload == b"1"
        assert second.is_silent()


def test_a_broker_that_is_not_there_or_refuses_is_an_error_that_names_it() -> None:
    refusing = FakeBroker()
    refusing.refusal = "Connection refused"
    for factory, address in ((refusing.connect, ADDRESS), (Connection, BrokerAddress("127.0.0.1", 1))):
        with pytest.raises(BrokerError, match=f"broker {address}: .*refused"):
            factory(address).open("a", on_message=lambda _: None, timeout_s=1.0)
