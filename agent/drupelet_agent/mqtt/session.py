"""The MQTT session: publications, subscriptions and received messages, across connections."""

from __future__ import annotations

import logging
from collections.abc import Callable

from drupelet_agent.mqtt.codec import decoding, packets
from drupelet_agent.mqtt.errors import EncodingError, ProtocolError
from drupelet_agent.mqtt.limits import BrokerLimits
from drupelet_agent.mqtt.link.stream import Stream
from drupelet_agent.mqtt.message import Message, Publication
from drupelet_agent.mqtt.outcome import OutcomeCallback, PublishOutcome
from drupelet_agent.mqtt.outgoing import MOST_LOSSES, Delivery, Outgoing
from drupelet_agent.mqtt.packet_ids import PacketIds
from drupelet_agent.mqtt.reasons import (
    FAILURE,
    PACKET_TOO_LARGE,
    SHARED_NOT_SUPPORTED,
    WILDCARDS_NOT_SUPPORTED,
    advise,
    describe_reason,
)
from drupelet_agent.mqtt.status import ConnectionProblem

log = logging.getLogger(__name__)

_SHARED_PREFIX = "$share/"


class Session:
    """Everything that outlives a connection, and the packets of the connection there is.

    Invariants: each publication has one outcome; the bytes of publications are bounded by twice `max_pending_bytes`
    and one publication.
    """

    def __init__(
        self,
        *,
        max_pending_bytes: int,
        on_message: Callable[[Message], None],
        report: Callable[[ConnectionProblem, str], None],
    ) -> None:
        """Start a session without a connection.

        Args:
            max_pending_bytes: Bytes unsent or unacknowledged above which QoS 0 publications are dropped.
            on_message: Receives each message.
            report: Receives what a person should know.
        """
        self._max_pending_bytes = max_pending_bytes
        self._on_message = on_message
        self._report = report
        self._packet_ids = PacketIds()
        self._outgoing = Outgoing(self._packet_ids)
        self._stream: Stream | None = None
        self._limits = BrokerLimits()
        self._subscribing: dict[int, tuple[str, ...]] = {}

    @property
    def pending_bytes(self) -> int:
        """Bytes of packets that are unsent or unacknowledged."""
        stream = self._stream
        if stream is None:
            return self._outgoing.pending_bytes
        return self._outgoing.pending_bytes + stream.unsent_bytes - self._outgoing.unsent_bytes(stream.sent_offset)

    @property
    def pending_count(self) -> int:
        """How many QoS 1 publications are not acknowledged yet."""
        return len(self._outgoing)

    @property
    def awaits_suback(self) -> bool:
        """Whether the broker has not answered every SUBSCRIBE of this connection."""
        return bool(self._subscribing)

    def open(self, stream: Stream, limits: BrokerLimits, *, session_present: bool) -> None:
        """Use a connection that the broker has accepted, and send again what it has not acknowledged.

        Args:
            stream: The connection.
            limits: The broker's limits.
            session_present: Whether the broker has this session too.
        """
        self._stream, self._limits = stream, limits
        if not limits.maximum_qos:
            self._report(
                ConnectionProblem.UNSUPPORTED, "the broker accepts QoS 0 only: nothing sent to it is acknowledged"
            )
        if not limits.retain_available:
            self._report(
                ConnectionProblem.UNSUPPORTED,
                "the broker keeps no retained messages: later subscribers do not see the state of the device",
            )
        self._outgoing.connection_opened(receive_maximum=limits.receive_maximum, session_present=session_present)
        self._send_ready()

    def close(self, *, may_blame_publication: bool) -> None:
        """Stop using the connection.

        Args:
            may_blame_publication: Whether the broker may have ended it because of a publication.
        """
        stream, self._stream = self._stream, None
        if stream is None:
            return
        for packet_id in self._subscribing:
            self._packet_ids.release(packet_id)
        self._subscribing.clear()
        dropped = self._outgoing.connection_lost(blamed_up_to=stream.sent_offset if may_blame_publication else 0)
        if dropped is not None:
            topic = dropped.publication.topic
            reason = (
                f"dropped a publication of {dropped.size_bytes} bytes to the topic {topic[:200]!r}: the broker ended "
                f"the connection {MOST_LOSSES} times in a row when it was sent"
            )
            self._report(ConnectionProblem.PUBLICATION_DROPPED, reason)
            _conclude(dropped.on_outcome, PublishOutcome.DROPPED, reason)

    def end(self, reason: str) -> None:
        """Give up every publication that is not acknowledged; the session is over."""
        for delivery in self._outgoing.clear():
            _conclude(delivery.on_outcome, PublishOutcome.UNSENT, reason)

    def publish(self, publication: Publication, on_outcome: OutcomeCallback | None) -> None:
        """Send a publication; one of QoS 1 that finds no connection waits for the next."""
        try:
            size_bytes = packets.publish_bytes(publication)
        except EncodingError as error:
            log.warning("not published: %s", error)
            _conclude(on_outcome, PublishOutcome.TOO_LARGE, str(error))
            return
        pending_bytes = self.pending_bytes
        if pending_bytes > self._max_pending_bytes * (2 if publication.qos else 1):
            reason = f"{pending_bytes} bytes are unsent or unacknowledged: the limit is {self._max_pending_bytes}"
            _conclude(on_outcome, PublishOutcome.NO_ROOM, reason)
        elif publication.qos:
            self._outgoing.add(Delivery(publication, size_bytes=size_bytes, on_outcome=on_outcome))
            self._send_ready()
        elif self._stream is None:
            _conclude(on_outcome, PublishOutcome.UNSENT, "there is no connection to the broker")
        else:
            self._send_at_most_once(self._stream, publication, on_outcome)

    def subscribe(self, filters: tuple[str, ...], *, retained: bool) -> None:
        """Subscribe with QoS 1 to the filters that the broker supports, and report the others.

        Args:
            filters: The topic filters.
            retained: Whether retained messages are sent as well.

        Raises:
            EncodingError: A filter cannot be encoded.
            ProtocolError: The broker has left so many SUBSCRIBE packets unanswered that no identifier is free.
        """
        if self._stream is None:
            return
        supported = tuple(one for one in filters if self._is_supported(one))
        if not supported:
            return
        self._send_subscribe(self._stream, supported, retained=retained)

    def acknowledge(self, packet_id: int) -> None:
        """Acknowledge a QoS 1 message of this connection."""
        if self._stream is not None:
            self._stream.write(packets.encode_puback(packet_id))

    def handle(self, first: int, body: memoryview) -> None:
        """Handle a packet of the connection.

        Args:
            first: The packet's first byte.
            body: What follows its length.

        Raises:
            ProtocolError: The packet breaks the specification.
        """
        match first >> 4:
            case packets.PUBLISH:
                self._handle_publish(decoding.decode_publish(first, body))
            case packets.PUBACK:
                self._handle_puback(*decoding.decode_puback(body))
            case packets.SUBACK:
                self._handle_suback(*decoding.decode_suback(body))
            case kind:
                raise ProtocolError(f"a packet of type {kind}, which a client does not receive at QoS 0 and 1")

    def _handle_publish(self, message: Message) -> None:
        try:
            self._on_message(message)
        except Exception:
            # The messages behind this one must still be answered.
            log.exception("message not handled topic=%s bytes=%d", message.topic, len(message.payload))

    def _handle_puback(self, packet_id: int, code: int, text: str | None) -> None:
        delivery = self._outgoing.finish(packet_id)
        if delivery is not None and code >= FAILURE:
            reason = f"the broker rejects the publication: {advise(code, text)}"
            log.warning("%s topic=%s", reason, delivery.publication.topic)
            outcome = PublishOutcome.TOO_LARGE if code == PACKET_TOO_LARGE else PublishOutcome.REJECTED
            _conclude(delivery.on_outcome, outcome, reason)
        elif delivery is not None:
            _conclude(delivery.on_outcome, PublishOutcome.ACKNOWLEDGED, "")
        self._send_ready()

    def _handle_suback(self, packet_id: int, codes: bytes) -> None:
        filters = self._subscribing.pop(packet_id, None)
        if filters is None or len(filters) != len(codes):
            raise ProtocolError("a SUBACK that does not fit to a SUBSCRIBE")
        self._packet_ids.release(packet_id)
        for topic_filter, code in zip(filters, codes, strict=True):
            if code >= FAILURE:
                self._report_refused_subscription(topic_filter, describe_reason(code))

    def _send_subscribe(self, stream: Stream, filters: tuple[str, ...], *, retained: bool) -> None:
        limit = self._limits.maximum_packet_bytes
        size_bytes = len(packets.encode_subscribe(1, filters, retained=retained))
        if limit is not None and size_bytes > limit:
            if len(filters) == 1:
                reason = f"a packet of {size_bytes} bytes: the broker accepts at most {limit}"
                self._report_refused_subscription(filters[0], reason)
                return
            half = len(filters) // 2
            self._send_subscribe(stream, filters[:half], retained=retained)
            self._send_subscribe(stream, filters[half:], retained=retained)
            return
        packet_id = self._packet_ids.take()
        if packet_id is None:
            raise ProtocolError("the broker does not answer SUBSCRIBE packets")
        self._subscribing[packet_id] = filters
        stream.write(packets.encode_subscribe(packet_id, filters, retained=retained))

    def _is_supported(self, topic_filter: str) -> bool:
        if not self._limits.shared_available and topic_filter.startswith(_SHARED_PREFIX):
            self._report_refused_subscription(topic_filter, advise(SHARED_NOT_SUPPORTED))
            return False
        if not self._limits.wildcard_available and ("+" in topic_filter or "#" in topic_filter):
            self._report_refused_subscription(topic_filter, advise(WILDCARDS_NOT_SUPPORTED))
            return False
        return True

    def _report_refused_subscription(self, topic_filter: str, reason: str) -> None:
        log.error("the broker refuses the subscription to %s: %s", topic_filter, reason)
        self._report(
            ConnectionProblem.SUBSCRIPTION_REFUSED,
            f"connected, but the broker refuses the subscription to {topic_filter}: {reason}",
        )

    def _send_ready(self) -> None:
        while self._stream is not None and (delivery := self._outgoing.next_ready()) is not None:
            self._send(self._stream, delivery)

    def _send(self, stream: Stream, delivery: Delivery) -> None:
        if not self._limits.maximum_qos:
            self._outgoing.finish(delivery.packet_id)
            self._send_at_most_once(stream, delivery.publication._replace(qos=0), delivery.on_outcome)
            return
        publication = self._without_unavailable(delivery.publication)
        head = packets.encode_publish_head(publication, packet_id=delivery.packet_id, dup=delivery.is_dup)
        if self._exceeds_limit(publication, len(head), delivery.on_outcome):
            self._outgoing.finish(delivery.packet_id)
            return
        stream.write(head, publication.payload)
        delivery.end_offset = stream.queued_offset

    def _send_at_most_once(self, stream: Stream, publication: Publication, on_outcome: OutcomeCallback | None) -> None:
        publication = self._without_unavailable(publication)
        head = packets.encode_publish_head(publication, packet_id=0)
        if not self._exceeds_limit(publication, len(head), on_outcome):
            stream.write(head, publication.payload)
            _conclude(on_outcome, PublishOutcome.ACKNOWLEDGED, "")

    def _without_unavailable(self, publication: Publication) -> Publication:
        if publication.retain and not self._limits.retain_available:
            return publication._replace(retain=False)
        return publication

    def _exceeds_limit(self, publication: Publication, head_bytes: int, on_outcome: OutcomeCallback | None) -> bool:
        limit, size = self._limits.maximum_packet_bytes, head_bytes + len(publication.payload)
        if limit is None or size <= limit:
            return False
        reason = f"a packet of {size} bytes: the broker accepts at most {limit}"
        log.error("not published topic=%s: %s", publication.topic, reason)
        _conclude(on_outcome, PublishOutcome.TOO_LARGE, reason)
        return True


def _conclude(on_outcome: OutcomeCallback | None, outcome: PublishOutcome, reason: str) -> None:
    if on_outcome is None:
        return
    try:
        on_outcome(outcome, reason)
    except Exception:
        # The outcomes of other publications must still be reported.
        log.exception("the outcome of a publication was not handled")
