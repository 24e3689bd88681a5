"""The connection to the broker: MQTT 5 on the event loop, reconnecting with jittered backoff."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol

from drupelet_agent.mqtt import packets
from drupelet_agent.mqtt.dialling import dial
from drupelet_agent.mqtt.errors import ConnectFailedError, MalformedPacketError, PacketSizeError
from drupelet_agent.mqtt.message import Message, Publication
from drupelet_agent.mqtt.options import ConnectionOptions
from drupelet_agent.mqtt.outgoing import Outgoing, Sending
from drupelet_agent.mqtt.packets import ConnectAnswer, Login
from drupelet_agent.mqtt.properties import connect_properties
from drupelet_agent.mqtt.reasons import FAILURE, MALFORMED_PACKET, PACKET_TOO_LARGE, describe_reason
from drupelet_agent.mqtt.stream import Stream

log = logging.getLogger(__name__)

_CONNECT_TIMEOUT_S = 10.0
_HOUSEKEEPING_S = 1.0
_FIRST_BACKOFF_S = 0.25
_LONGEST_BACKOFF_S = 30.0
# Past what is due by this much, the connection's own tasks no longer work.
_STALL_S = 15.0
_FAREWELL_S = 1.0
# What a broker takes that names no limit (MQTT 5, section 3.2.2.3.3).
_RECEIVE_MAXIMUM = 65_535


class OnConnected(Protocol):
    """Called after each connect; without a session the broker knows nothing of earlier subscriptions and requests."""

    def __call__(self, *, session_present: bool) -> None:
        """Announce and subscribe."""


class BrokerConnection:
    """One MQTT 5 session; everything runs on the event loop."""

    def __init__(
        self,
        options: ConnectionOptions,
        *,
        on_connected: OnConnected,
        on_message: Callable[[Message], None],
    ) -> None:
        """Prepare a session; nothing is sent before `connect` or `run`.

        Args:
            options: The broker and the session's limits.
            on_connected: Called after each accepted connect, before any message of the session.
            on_message: Takes each received message.
        """
        self._options = options
        self._where = f"broker {options.host}:{options.port}"
        self._login = Login(
            client_id=options.client_id,
            keepalive_s=options.keepalive_s,
            username=options.username,
            password=options.password,
            will=options.will,
            will_delay_s=options.will_delay_s,
        )
        self._properties = connect_properties(
            session_expiry_s=options.session_expiry_s,
            receive_maximum=options.receive_maximum,
            max_packet_bytes=options.max_packet_bytes,
        )
        self._on_connected = on_connected
        self._on_message = on_message
        self._outgoing = Outgoing()
        self._stream: Stream | None = None
        self._answer: asyncio.Future[ConnectAnswer] | None = None
        self._accepted: ConnectAnswer | None = None
        self._lost = asyncio.Event()
        self._subscribing: dict[int, tuple[str, ...]] = {}
        self._keepalive_s = float(options.keepalive_s)
        self._ping_sent_s: float | None = None
        self._due_s = time.monotonic() + _STALL_S

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted the session and the connection stands."""
        return self._accepted is not None

    @property
    def stalled(self) -> bool:
        """Whether it neither keeps the connection alive nor tries for another one when it should."""
        return time.monotonic() > self._due_s

    async def run(self) -> None:
        """Connect, and connect again whenever the connection is lost, until cancelled."""
        housekeeping = asyncio.create_task(self._housekeep())
        attempt = 0
        try:
            while True:
                try:
                    self._due_s = time.monotonic() + 2 * _CONNECT_TIMEOUT_S + _STALL_S
                    await self.connect()
                    attempt = 0
                    await self._lost.wait()
                    log.warning("broker connection lost host=%s port=%d", self._options.host, self._options.port)
                except ConnectFailedError as error:
                    attempt += 1
                    log.warning("%s (attempt %d)", error, attempt)
                ceiling_s = min(_LONGEST_BACKOFF_S, _FIRST_BACKOFF_S * 2**attempt)
                self._due_s = time.monotonic() + ceiling_s + _STALL_S
                await asyncio.sleep(random.uniform(0, ceiling_s))  # noqa: S311 - jitter
        finally:
            housekeeping.cancel()

    async def connect(self) -> None:
        """Connect once.

        Raises:
            ConnectFailedError: The broker is not there, does not answer or refuses.
        """
        self._lost.clear()
        answer: asyncio.Future[ConnectAnswer] = asyncio.get_running_loop().create_future()
        try:
            opened = await dial(self._options.host, self._options.port, tls=self._options.tls)
            self._answer = answer
            self._stream = Stream(
                opened, max_packet_bytes=self._options.max_packet_bytes, on_packet=self._take, on_end=self._end
            )
            self._stream.write(packets.encode_connect(self._login, self._properties))
            accepted = await asyncio.wait_for(answer, _CONNECT_TIMEOUT_S)
        except TimeoutError as error:
            self._end("no answer")
            raise ConnectFailedError(f"{self._where}: no answer within {_CONNECT_TIMEOUT_S:.0f} s") from error
        except OSError as error:
            raise ConnectFailedError(f"{self._where}: {error}") from error
        if accepted.reason >= FAILURE:
            self._end("refused")
            reason = describe_reason(accepted.reason, accepted.properties.reason)
            raise ConnectFailedError(f"{self._where} refuses the connection: {reason}")
        log.info("connected to %s session_present=%s", self._where, accepted.session_present)

    def publish(self, publication: Publication) -> None:
        """Send; what has QoS 1 and finds no connection waits in the session and goes out after the next connect."""
        if publication.qos:
            self._send_all(self._outgoing.take(publication))
        elif self._accepted is not None:
            self._send(publication, packet_id=0)

    def subscribe(self, *filters: str, retained: bool = False) -> None:
        """Subscribe with QoS 1 to what is sent from now on, and to what is retained only where that is wanted."""
        if self._stream is not None:
            packet_id = self._outgoing.new_packet_id()
            self._subscribing[packet_id] = filters
            self._stream.write(packets.encode_subscribe(packet_id, filters, retained=retained))

    def acknowledge(self, packet_id: int) -> None:
        """Tell the broker that a QoS 1 message is dealt with."""
        if self._stream is not None:
            self._stream.write(packets.encode_puback(packet_id))

    @contextmanager
    def together(self) -> Iterator[None]:
        """What is published and acknowledged within leaves at the end, at once and in one segment."""
        stream = self._stream
        if stream is not None:
            stream.hold()
        try:
            yield
        finally:
            if stream is not None:
                stream.flush()

    async def disconnect(self) -> None:
        """Flush what waits to be written, for a second at most, and leave in good order (the will is not sent)."""
        if self._stream is None:
            return
        self._stream.write(packets.encode_disconnect())
        await self._stream.drain(timeout_s=_FAREWELL_S)
        self._end("left")

    async def _housekeep(self) -> None:
        while True:
            await asyncio.sleep(_HOUSEKEEPING_S)
            if self.connected:
                self._due_s = time.monotonic() + _STALL_S
                self._keep_alive()

    def _keep_alive(self) -> None:
        """Ask for a sign of life where nothing was sent or heard for long (MQTT 5, section 3.1.2.10)."""
        stream, now_s = self._stream, time.monotonic()
        assert stream is not None
        if self._ping_sent_s is not None and now_s - self._ping_sent_s > self._keepalive_s:
            self._end(f"no answer to a ping within {self._keepalive_s:.0f} s")
        elif self._ping_sent_s is None and now_s - min(stream.read_s, stream.written_s) >= self._keepalive_s:
            self._ping_sent_s = now_s
            stream.write(packets.PING_REQUEST)

    def _take(self, first: int, body: memoryview) -> None:
        """Handle one packet.

        Raises:
            MalformedPacketError: It breaks the specification.
        """
        match first >> 4:
            case packets.PUBLISH:
                self._hear(packets.decode_publish(first, body))
            case packets.PUBACK:
                packet_id, reason = packets.decode_puback(body)
                if reason >= FAILURE:
                    log.warning("%s does not take a message: %s", self._where, describe_reason(reason))
                self._send_all(self._outgoing.acknowledged(packet_id))
            case packets.PINGRESP:
                self._ping_sent_s = None
            case packets.SUBACK:
                self._note_subscribed(*packets.decode_suback(body))
            case packets.CONNACK:
                self._accept(packets.decode_connack(body))
            case packets.DISCONNECT:
                self._end(describe_reason(*packets.decode_disconnect(body)))
            case kind:
                raise MalformedPacketError(f"a packet of type {kind}, which a client is not sent at QoS 0 and 1")

    def _hear(self, message: Message) -> None:
        try:
            self._on_message(message)
        except Exception:
            # The messages behind this one must still be answered.
            log.exception("message not handled topic=%s bytes=%d", message.topic, len(message.payload))

    def _accept(self, answer: ConnectAnswer) -> None:
        if self._answer is None or self._answer.done():
            raise MalformedPacketError("a CONNACK that nobody waits for")
        self._answer.set_result(answer)
        if answer.reason >= FAILURE:
            return
        self._accepted, self._ping_sent_s = answer, None
        self._keepalive_s = float(answer.properties.server_keepalive_s or self._options.keepalive_s)
        sendings = self._outgoing.connected(
            receive_maximum=answer.properties.receive_maximum or _RECEIVE_MAXIMUM,
            session_present=answer.session_present,
        )
        self._send_all(sendings)
        # Before anything that follows the CONNACK in the same read: messages of the session are sent again at once.
        self._on_connected(session_present=answer.session_present)

    def _note_subscribed(self, packet_id: int, reasons: bytes) -> None:
        for topic_filter, reason in zip(self._subscribing.pop(packet_id, ()), reasons, strict=False):
            if reason >= FAILURE:
                log.error("%s refuses the subscription to %s: %s", self._where, topic_filter, describe_reason(reason))

    def _send_all(self, sendings: Iterable[Sending]) -> None:
        for sending in sendings:
            self._send(sending.publication, packet_id=sending.packet_id, dup=sending.dup)

    def _send(self, publication: Publication, *, packet_id: int, dup: bool = False) -> None:
        assert self._accepted is not None
        assert self._stream is not None
        head = packets.encode_publish_head(publication, packet_id=packet_id, dup=dup)
        limit = self._accepted.properties.maximum_packet_bytes
        size = len(head) + len(publication.payload)
        if limit is not None and size > limit:
            log.error("%s takes %d bytes: not sent topic=%s bytes=%d", self._where, limit, publication.topic, size)
            self._send_all(self._outgoing.acknowledged(packet_id))
            return
        self._stream.write(head, publication.payload)

    def _end(self, why: Exception | str) -> None:
        """The connection is gone, or is given up."""
        stream, self._stream, self._accepted = self._stream, None, None
        if stream is None:
            return
        if isinstance(why, MalformedPacketError):
            reason = PACKET_TOO_LARGE if isinstance(why, PacketSizeError) else MALFORMED_PACKET
            stream.write(packets.encode_disconnect(reason))
            stream.flush()
        stream.close()
        self._outgoing.connection_lost()
        self._subscribing.clear()
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(OSError(f"connection closed before it was accepted: {why}"))
        else:
            log.info("connection to %s ended: %s", self._where, why)
        self._lost.set()
