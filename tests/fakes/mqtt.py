"""A broker in memory and a transport to it, which implements the client's `Transport` without a network."""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Callable

from drupelet_host.client import BrokerAddress
from drupelet_host.client.connection.transport import (
    ConfirmationHandler,
    MessageHandler,
    MessageProperties,
    ReceivedMessage,
)
from drupelet_host.errors import BrokerError
from drupelet_shared.errors import PayloadSizeError

ADDRESS = BrokerAddress("fake.invalid")
Subscriber = Callable[[ReceivedMessage, MessageProperties], None]


class FakeBroker:
    """Delivers messages between transports and the subscribers of a test, and keeps retained ones.

    Attributes:
        refusal: The reason why the broker refuses connections; None accepts them.
        max_payload_bytes: The limit that it announces.
        lost: Returns whether a message gets lost: it is confirmed, and delivered to no client.
        dropped: Returns whether a message that is retained is not delivered, as to clients that do not keep up.
        refused: Gives the reason for which a message is refused; None accepts it.
        published: All messages, in order.
    """

    def __init__(self) -> None:
        self.refusal: str | None = None
        self.max_payload_bytes: int | None = None
        self.lost: Callable[[ReceivedMessage], bool] = lambda _: False
        self.dropped: Callable[[ReceivedMessage], bool] = lambda _: False
        self.refused: Callable[[ReceivedMessage], str | None] = lambda _: None
        self.published: list[ReceivedMessage] = []
        self.transports: list[FakeTransport] = []
        self._retained: dict[str, ReceivedMessage] = {}
        self._subscribers: list[tuple[str, Subscriber]] = []
        self._numbers = itertools.count(1)

    def connect(self, broker: BrokerAddress, *, keeps_session: bool = True) -> FakeTransport:
        """Implements `TransportFactory`."""
        del broker, keeps_session
        transport = FakeTransport(self, f"fake-{next(self._numbers)}")
        self.transports.append(transport)
        return transport

    def serve(self, topic: str, subscriber: Subscriber) -> None:
        """Call a function with each message of a topic filter, on the publisher's thread."""
        self._subscribers.append((topic, subscriber))

    def publish(
        self, topic: str, payload: bytes, properties: MessageProperties | None = None, *, retain: bool = False
    ) -> str | None:
        """Deliver a message; returns the reason if it is refused."""
        sent = properties or MessageProperties()
        message = ReceivedMessage(
            topic,
            payload,
            content_type=sent.content_type,
            correlation_data=sent.correlation_data,
            user_properties=sent.user_properties,
        )
        self.published.append(message)
        reason = self.refused(message)
        if reason is not None or self.lost(message):
            return reason
        if retain:
            self._retained.pop(topic, None)
            if payload:
                self._retained[topic] = ReceivedMessage(topic, payload, is_retained=True)
        for pattern, subscriber in list(self._subscribers):
            if matches(pattern, topic):
                subscriber(message, sent)
        if self.dropped(message):
            return None
        for transport in list(self.transports):
            if any(matches(pattern, topic) for pattern in transport.topics):
                transport.deliver(message)
        return None

    def retained(self, pattern: str) -> list[ReceivedMessage]:
        return [message for topic, message in self._retained.items() if matches(pattern, topic)]


class FakeTransport:
    """Implements `Transport`; messages are handed over on a thread of its own, as over the network."""

    def __init__(self, broker: FakeBroker, client_id: str) -> None:
        self.client_id = client_id
        self.is_connected = False
        self.topics: set[str] = set()
        self._broker = broker
        self._tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._on_message: MessageHandler = lambda _: None

    @property
    def max_payload_bytes(self) -> int | None:
        return self._broker.max_payload_bytes

    def open(self, topic: str, *, on_message: MessageHandler, timeout_s: float) -> None:
        del timeout_s
        if self._broker.refusal is not None:
            raise BrokerError(f"broker {ADDRESS}: {self._broker.refusal}")
        self._on_message = on_message
        self.is_connected = True
        self._thread.start()
        self.subscribe(topic)

    def close(self) -> None:
        self.is_connected = False
        self.topics.clear()
        self._tasks.put(None)
        self._thread.join()

    def subscribe(self, topic: str) -> None:
        self.topics.add(topic)
        for message in self._broker.retained(topic):
            self.deliver(message)

    def unsubscribe(self, topic: str) -> None:
        self.topics.discard(topic)

    def publish(
        self,
        topic: str,
        payload: bytes,
        properties: MessageProperties | None = None,
        *,
        retain: bool = False,
        on_confirmed: ConfirmationHandler | None = None,
    ) -> None:
        limit = self.max_payload_bytes
        if limit is not None and len(payload) > limit:
            raise PayloadSizeError(f"request has {len(payload)} bytes: broker {ADDRESS} takes {limit}")
        refusal = self._broker.publish(topic, payload, properties, retain=retain)
        if on_confirmed is not None:
            self._tasks.put(lambda: on_confirmed(refusal))

    def deliver(self, message: ReceivedMessage) -> None:
        self._tasks.put(lambda: self._on_message(message))

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()


def matches(pattern: str, topic: str) -> bool:
    """Tell whether a topic filter with `+` and a final `#` matches a topic (MQTT 5, section 4.7)."""
    expected, given = pattern.split("/"), topic.split("/")
    if expected[-1] == "#":
        expected, given = expected[:-1], given[: len(expected) - 1]
    return len(expected) == len(given) and all(
        level in {"+", other} for level, other in zip(expected, given, strict=True)
    )
