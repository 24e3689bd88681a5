"""An MQTT session without a broker: what is published comes back to its own subscriptions, as from a broker."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from paho.mqtt.client import topic_matches_sub

from drupelet_agent.messaging.protocols import OnConnected
from drupelet_agent.mqtt.limits import BrokerLimits
from drupelet_agent.mqtt.message import Message, Publication
from drupelet_agent.mqtt.outcome import OutcomeCallback, PublishOutcome
from drupelet_agent.mqtt.status import ConnectionProblem, ConnectionStatus

_HEAD_BYTES = 16


class FakeSession:
    """Implements `BrokerSession`; the tests play the broker.

    Attributes:
        published: What reached the broker, in order.
        acknowledged: The packet identifiers that were acknowledged, in order.
        subscriptions: The filters of the present connection, and whether they ask for retained messages.
        holds_acknowledgements: Whether the broker keeps its PUBACKs until `acknowledge_publications`.
        receive_maximum: How many publications the broker takes before it has acknowledged the first.
        maximum_packet_bytes: The largest packet that the broker takes.
        max_publication_bytes: The longest payload for which the session has room; None without a limit.
        rejected_topics: Topics on which the broker rejects publications.
        dropped_topics: Topics on which publications end the connection, until they are dropped.
        segments: How many publications left together in each corked context.
        stalled: Whether the connection's own tasks no longer run.
    """

    def __init__(
        self,
        *,
        on_connected: OnConnected,
        on_message: Callable[[Message], None],
    ) -> None:
        self._on_connected = on_connected
        self._on_message = on_message
        self._waiting: deque[tuple[Publication, OutcomeCallback | None]] = deque()
        self._in_flight: deque[tuple[Publication, OutcomeCallback | None]] = deque()
        self._retained: dict[str, Publication] = {}
        self._delivered: dict[int, Message] = {}
        self._next_id = 1
        self._connected = False
        self.published: list[Publication] = []
        self.acknowledged: list[int] = []
        self.subscriptions: dict[str, bool] = {}
        self.holds_acknowledgements = False
        self.receive_maximum = 65_535
        self.maximum_packet_bytes: int | None = None
        self.max_publication_bytes: int | None = None
        self.rejected_topics: Sequence[str] = ()
        self.dropped_topics: Sequence[str] = ()
        self.segments: list[int] = []
        self.stalled = False

    @property
    def connected(self) -> bool:
        return self._connected

    @property
    def status(self) -> ConnectionStatus:
        if self._connected:
            return ConnectionStatus(connected=True, problem=None, explanation="")
        return ConnectionStatus(connected=False, problem=ConnectionProblem.UNREACHABLE, explanation="no broker")

    @property
    def broker(self) -> BrokerLimits | None:
        return BrokerLimits(maximum_packet_bytes=self.maximum_packet_bytes) if self._connected else None

    @property
    def pending_bytes(self) -> int:
        return sum(len(publication.payload) for publication, _ in (*self._in_flight, *self._waiting))

    def publish(self, publication: Publication, *, on_outcome: OutcomeCallback | None = None) -> None:
        if publication.qos == 0 and not self._connected:
            _conclude(on_outcome, PublishOutcome.UNSENT, "there is no connection to the broker")
            return
        if self.max_publication_bytes is not None and len(publication.payload) > self.max_publication_bytes:
            _conclude(on_outcome, PublishOutcome.NO_ROOM, "too many bytes are unacknowledged")
            return
        self._waiting.append((publication, on_outcome))
        self._send_waiting()

    def subscribe(self, *filters: str, retained: bool = False) -> None:
        self.subscriptions |= dict.fromkeys(filters, retained)
        if retained:
            for publication in list(self._retained.values()):
                if any(topic_matches_sub(one, publication.topic) for one in filters):
                    self._receive(publication, retain=True)

    def acknowledge(self, packet_id: int) -> None:
        if self._connected:
            self._delivered.pop(packet_id, None)
            self.acknowledged.append(packet_id)

    @contextmanager
    def corked(self) -> Iterator[None]:
        before = len(self.published)
        yield
        self.segments.append(len(self.published) - before)

    async def run(self) -> None:
        self.connect()
        await asyncio.Event().wait()

    async def disconnect(self) -> None:
        self._connected = False
        while self._in_flight or self._waiting:
            _, on_outcome = (self._in_flight or self._waiting).popleft()
            _conclude(on_outcome, PublishOutcome.UNSENT, "the session ended")

    # What a test does as the broker.

    def connect(self, *, session_present: bool = False) -> None:
        """Accept the session, send again what is unacknowledged, and let it be sent again."""
        self._connected = True
        self.subscriptions = dict(self.subscriptions) if session_present else {}
        self._waiting.extendleft(reversed(self._in_flight))
        self._in_flight.clear()
        self._on_connected(session_present=session_present)
        if session_present:
            for message in list(self._delivered.values()):
                self._on_message(message._replace(dup=True))
        else:
            self._delivered.clear()
        self._send_waiting()

    def lose_connection(self) -> None:
        """Lose the connection and keep the session."""
        self._connected = False

    def deliver(self, topic: str, payload: bytes = b"", **fields: object) -> int:
        """Deliver a message of QoS 1, and return its packet identifier."""
        message = Message(topic, payload, qos=1, mid=self._next_id)._replace(**fields)
        self._next_id += 1
        if message.qos:
            self._delivered[message.mid] = message
        self._on_message(message)
        return message.mid

    def acknowledge_publications(self, count: int | None = None) -> None:
        """Send the PUBACKs that were held, the oldest first."""
        for _ in range(len(self._in_flight) if count is None else count):
            _, on_outcome = self._in_flight.popleft()
            _conclude(on_outcome, PublishOutcome.ACKNOWLEDGED, "")
            self._send_waiting()

    def on_topic(self, topic: str) -> list[Publication]:
        """Return what was published on a topic, in order."""
        return [publication for publication in self.published if publication.topic == topic]

    def _send_waiting(self) -> None:
        while self._connected and self._waiting and len(self._in_flight) < self.receive_maximum:
            publication, on_outcome = self._waiting.popleft()
            self._send(publication, on_outcome)

    def _send(self, publication: Publication, on_outcome: OutcomeCallback | None) -> None:
        size = _HEAD_BYTES + len(publication.topic.encode()) + len(publication.properties) + len(publication.payload)
        limit = self.maximum_packet_bytes
        if limit is not None and size > limit:
            _conclude(on_outcome, PublishOutcome.TOO_LARGE, f"the broker accepts at most {limit} bytes")
            return
        if publication.topic in self.dropped_topics:
            _conclude(on_outcome, PublishOutcome.DROPPED, "the broker ended the connection 3 times in a row")
            return
        self.published.append(publication)
        if publication.topic in self.rejected_topics:
            _conclude(on_outcome, PublishOutcome.REJECTED, "Not authorized")
            return
        if publication.retain:
            self._retained[publication.topic] = publication
        if any(topic_matches_sub(one, publication.topic) for one in self.subscriptions):
            self._receive(publication, retain=False)
        if publication.qos and self.holds_acknowledgements:
            self._in_flight.append((publication, on_outcome))
        else:
            _conclude(on_outcome, PublishOutcome.ACKNOWLEDGED, "")

    def _receive(self, publication: Publication, *, retain: bool) -> None:
        self.deliver(publication.topic, publication.payload, qos=publication.qos, retain=retain)


def _conclude(on_outcome: OutcomeCallback | None, outcome: PublishOutcome, reason: str) -> None:
    if on_outcome is not None:
        on_outcome(outcome, reason)
