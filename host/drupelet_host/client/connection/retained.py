"""Reading of retained messages: subscribe, take what the broker has stored, unsubscribe."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager

from drupelet_host.client.connection.address import BrokerAddress
from drupelet_host.client.connection.transport import MessageHandler, ReceivedMessage, Transport, TransportFactory

# The broker sends all retained messages of a subscription together, so a pause of this length is their end.
QUIET_S = 0.7
_POLL_S = 0.05


def open_filters(transport: Transport, filters: Sequence[str], *, on_message: MessageHandler, timeout_s: float) -> None:
    """Connect and subscribe to several topic filters; retained messages arrive from now on.

    Args:
        transport: A transport that is not open yet.
        filters: The topic filters, at least one.
        on_message: Receives each message, on the transport's own thread.
        timeout_s: The limit for connecting.

    Raises:
        BrokerError: The broker cannot be reached or refuses the client.
    """
    first, *others = filters
    transport.open(first, on_message=on_message, timeout_s=timeout_s)
    for topic in others:
        transport.subscribe(topic)


def read_retained(
    filters: Sequence[str], *, broker: BrokerAddress, timeout_s: float, transport_factory: TransportFactory
) -> dict[str, bytes]:
    """Return everything that the broker has stored under some topic filters, read over a connection of its own.

    Args:
        filters: The topic filters, at least one.
        broker: The broker's address.
        timeout_s: The limit for connecting to the broker.
        transport_factory: Makes the connection to the broker.

    Returns:
        The latest payload by topic; an empty one is a message that was deleted meanwhile.

    Raises:
        BrokerError: The broker cannot be reached or refuses the client.
    """
    payloads: dict[str, bytes] = {}
    received_s = time.monotonic()

    def receive(message: ReceivedMessage) -> None:
        nonlocal received_s
        payloads[message.topic] = message.payload
        if message.is_retained:
            # Others never end in a large fleet.
            received_s = time.monotonic()

    transport = transport_factory(broker, keeps_session=False)
    open_filters(transport, filters, on_message=receive, timeout_s=timeout_s)
    with closing(transport):
        received_s = time.monotonic()
        while time.monotonic() < received_s + QUIET_S:
            time.sleep(_POLL_S)
    return payloads


class RetainedTopics:
    """Collects the messages of topics that are subscribed to for a moment; safe to use from several threads."""

    def __init__(self, transport: Transport) -> None:
        """Make a reader.

        Args:
            transport: The connection, whose messages are handed to `receive`.
        """
        self._transport = transport
        self._changed = threading.Condition()
        self._readers: dict[str, int] = {}
        self._payloads: dict[str, bytes] = {}
        self._received_at_s = 0.0

    def receive(self, message: ReceivedMessage) -> None:
        """Take a message on the network thread; messages of other topics are not looked at again."""
        with self._changed:
            if self._readers:
                self._payloads[message.topic] = message.payload
                self._received_at_s = time.monotonic()
                self._changed.notify_all()

    def read(self, topic: str, *, timeout_s: float) -> bytes | None:
        """Return the retained payload of a topic; None if none arrives within `timeout_s`."""
        with self._subscribed(topic), self._changed:
            self._changed.wait_for(lambda: topic in self._payloads, timeout_s)
            return self._payloads.get(topic)

    def read_until(
        self, topic: str, is_enough: Callable[[dict[str, bytes]], bool], *, timeout_s: float
    ) -> dict[str, bytes]:
        """Return the retained payloads of a topic filter by topic.

        Args:
            topic: The topic filter.
            is_enough: Tells from the payloads so far whether to return at once.
            timeout_s: The limit for the whole call.

        Returns:
            The payloads so far, as soon as they are enough or no further one arrives for `QUIET_S`.
        """
        with self._subscribed(topic), self._changed:
            end_s = time.monotonic() + timeout_s
            self._received_at_s = time.monotonic()
            while not is_enough(self._payloads):
                left_s = min(end_s, self._received_at_s + QUIET_S) - time.monotonic()
                if left_s <= 0:
                    break
                self._changed.wait(left_s)
            return dict(self._payloads)

    @contextmanager
    def _subscribed(self, topic: str) -> Iterator[None]:
        with self._changed:
            self._readers[topic] = self._readers.get(topic, 0) + 1
        self._transport.subscribe(topic)
        try:
            yield
        finally:
            with self._changed:
                self._readers[topic] -= 1
                is_last = self._readers[topic] == 0
                if is_last:
                    del self._readers[topic]
                if not self._readers:
                    self._payloads.clear()
            if is_last:
                self._transport.unsubscribe(topic)
