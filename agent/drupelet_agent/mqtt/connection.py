"""The connection to the broker: MQTT 5 on the event loop, which reconnects with backoff."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from drupelet_agent.mqtt.codec import decoding, packets
from drupelet_agent.mqtt.codec.decoding import ConnectAnswer
from drupelet_agent.mqtt.errors import ConnectFailedError, EncodingError, ProtocolError
from drupelet_agent.mqtt.limits import BrokerLimits
from drupelet_agent.mqtt.link.backoff import LASTED_S, Backoff
from drupelet_agent.mqtt.link.dialling import CONNECT_TIMEOUT_S, RESOLVE_TIMEOUT_S, Dialler, OpenSocket
from drupelet_agent.mqtt.link.handshake import Handshake
from drupelet_agent.mqtt.link.keepalive import KeepAlive, KeepAliveAction
from drupelet_agent.mqtt.link.stream import Stream
from drupelet_agent.mqtt.message import Message, Publication
from drupelet_agent.mqtt.options import ConnectionOptions
from drupelet_agent.mqtt.outcome import OutcomeCallback
from drupelet_agent.mqtt.reasons import UNSPECIFIED_ERROR, advise, may_blame_publication, problem_of_disconnect
from drupelet_agent.mqtt.reports import ProblemReports
from drupelet_agent.mqtt.session import Session
from drupelet_agent.mqtt.status import ConnectionEvent, ConnectionProblem, ConnectionStatus

log = logging.getLogger(__name__)

_CONNACK_TIMEOUT_S = 10.0
# A broker that is slow may first send what it kept for the session: it must be quiet for a part of this time as well.
_SUBACK_TIMEOUT_S = 60.0
_QUIET_PART = 1 / 30
_KEEPALIVE_TICK_S = 1.0
# Past what is due by this much, the connection's own tasks no longer run.
_STALL_S = 15.0
_DISCONNECT_S = 1.0
_UNSTABLE_FAILURES = 2


class OnConnected(Protocol):
    """Called after each connect; without a session the broker knows nothing of earlier subscriptions and requests."""

    def __call__(self, *, session_present: bool) -> None:
        """Subscribe, and publish what must be known."""


class SocketFactory(Protocol):
    """Opens sockets to the broker; `Dialler` outside tests."""

    async def dial(self) -> OpenSocket:
        """Connect."""


class BrokerConnection:
    """One MQTT 5 session and its connections, one after the other; everything runs on one event loop.

    A connection is either set up as a whole or closed: an exception while one is accepted ends it, and the next attempt
    follows after the backoff.
    """

    def __init__(
        self,
        options: ConnectionOptions,
        *,
        on_connected: OnConnected,
        on_message: Callable[[Message], None],
        on_event: Callable[[ConnectionEvent], None] | None = None,
        dialler: SocketFactory | None = None,
        backoff: Backoff | None = None,
        clock: Callable[[], float] = time.monotonic,
        connack_timeout_s: float = _CONNACK_TIMEOUT_S,
        suback_timeout_s: float = _SUBACK_TIMEOUT_S,
    ) -> None:
        """Prepare a session; nothing is sent before `connect` or `run`.

        Args:
            options: The broker and the session's limits.
            on_connected: Called after each accepted connect, before any message of the session is handled.
            on_message: Receives each message.
            on_event: Receives what a person should know: each kind of problem once until a connection has lasted.
            dialler: Opens sockets; by default to the broker in the options.
            backoff: Decides how long to wait before the next attempt.
            clock: Returns the time in seconds, as the event loop does.
            connack_timeout_s: Seconds in which the broker must answer a CONNECT.
            suback_timeout_s: Seconds in which the broker must answer what is subscribed to at a connect.
        """
        self._options = options
        self._broker_name = f"broker {options.host}:{options.port}"
        self._on_connected = on_connected
        self._reports = ProblemReports(on_event)
        self._dialler = dialler or Dialler(options.host, options.port, tls=options.tls)
        self._backoff = backoff or Backoff()
        self._clock = clock
        self._connack_timeout_s = connack_timeout_s
        self._suback_timeout_s = suback_timeout_s
        self._session = Session(
            max_pending_bytes=options.max_pending_bytes,
            on_message=on_message,
            report=self._reports.report,
        )
        self._handshake = Handshake(options)
        self._keepalive = KeepAlive(options.keepalive_s)
        self._stream: Stream | None = None
        self._answer: asyncio.Future[BrokerLimits] | None = None
        self._limits: BrokerLimits | None = None
        self._lost = asyncio.Event()
        self._disconnecting = False
        self._connected_s: float | None = None
        self._due_s = clock() + _STALL_S

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted the session and the connection stands."""
        return self._limits is not None

    @property
    def broker(self) -> BrokerLimits | None:
        """The limits of the broker; None without a connection."""
        return self._limits

    @property
    def pending_bytes(self) -> int:
        """Bytes of packets that are unsent, or that the broker has not acknowledged."""
        return self._session.pending_bytes

    @property
    def pending_count(self) -> int:
        """How many QoS 1 publications the broker has not acknowledged."""
        return self._session.pending_count

    @property
    def status(self) -> ConnectionStatus:
        """Whether it is connected, and if not, why not."""
        return ConnectionStatus(self.connected, self._reports.problem, self._reports.explanation)

    @property
    def stalled(self) -> bool:
        """Whether it neither keeps the connection alive nor tries for another one when it should."""
        return self._clock() > self._due_s

    async def run(self) -> None:
        """Connect, and connect again whenever the connection is lost, until cancelled."""
        keepalive = asyncio.create_task(self._run_keepalive())
        try:
            while True:
                try:
                    await self.connect()
                    await self._lost.wait()
                except ConnectFailedError as error:
                    log.warning("%s (attempt %d)", error, self._backoff.failures + 1)
                    self._reports.report(error.problem, str(error))
                wait_s = self._backoff.next_s(self._reports.problem or ConnectionProblem.CLOSED)
                self._due_s = self._clock() + wait_s + _STALL_S
                await asyncio.sleep(wait_s)
        finally:
            keepalive.cancel()

    async def connect(self) -> None:
        """Connect once.

        Raises:
            ConnectFailedError: The broker cannot be reached, does not answer or refuses, or handling its acceptance
                failed.
        """
        self._due_s = self._clock() + RESOLVE_TIMEOUT_S + CONNECT_TIMEOUT_S + self._connack_timeout_s + _STALL_S
        self._lost.clear()
        self._disconnecting = False
        try:
            packet = self._handshake.encode()
            opened = await self._dialler.dial()
        except EncodingError as error:
            raise ConnectFailedError(f"{self._broker_name}: {error}", problem=ConnectionProblem.REFUSED) from error
        except (OSError, ValueError, RuntimeError) as error:
            # A name that IDNA cannot encode is a ValueError, and a thread that cannot be started a RuntimeError.
            raise ConnectFailedError(f"{self._broker_name}: {error}") from error
        self._answer = asyncio.get_running_loop().create_future()
        self._stream = Stream(
            opened,
            max_packet_bytes=self._options.max_packet_bytes,
            max_unsent_bytes=self._options.max_pending_bytes,
            on_packet=self._handle,
            on_end=self._end,
        )
        self._stream.write(packet)
        try:
            # Before Python 3.12 `wait_for` can swallow a cancellation.
            async with asyncio.timeout(self._connack_timeout_s):
                await self._answer
        except TimeoutError as error:
            message = f"{self._broker_name}: no answer within {self._connack_timeout_s:g} s"
            failure = ConnectFailedError(message, problem=ConnectionProblem.NO_ANSWER)
            self._close()
            raise failure from error

    def publish(self, publication: Publication, *, on_outcome: OutcomeCallback | None = None) -> None:
        """Publish; a QoS 1 publication that finds no connection waits in the session for the next one.

        Args:
            publication: What is published.
            on_outcome: Receives the outcome, once; it may be called before this returns.
        """
        self._session.publish(publication, on_outcome)

    def subscribe(self, *filters: str, retained: bool = False) -> None:
        """Subscribe with QoS 1; without a connection nothing happens, since each connect subscribes again.

        Args:
            filters: The topic filters.
            retained: Whether retained messages are sent as well, or only what is published from now on.

        Raises:
            EncodingError: A filter is too long, or contains a character that MQTT forbids.
        """
        try:
            self._session.subscribe(filters, retained=retained)
        except ProtocolError as error:
            self._end(error)

    def acknowledge(self, packet_id: int) -> None:
        """Acknowledge a QoS 1 message that was received on this connection."""
        self._session.acknowledge(packet_id)

    @contextmanager
    def corked(self) -> Iterator[None]:
        """Send what is published and acknowledged within at its end: at once, and in one segment."""
        stream = self._stream
        if stream is not None:
            stream.cork()
        try:
            yield
        finally:
            if stream is not None:
                stream.flush()

    async def disconnect(self) -> None:
        """Send what waits, for a second at most, and disconnect in good order, so that the will is not sent.

        QoS 1 publications that the broker has not acknowledged by then are dropped.
        """
        if self._stream is not None:
            self._disconnecting = True
            self._stream.write(packets.encode_disconnect())
            await self._stream.drain(timeout_s=_DISCONNECT_S)
            self._close()
        self._session.end("the session ended before the broker acknowledged the publication")

    async def _run_keepalive(self) -> None:
        while True:
            await asyncio.sleep(min(_KEEPALIVE_TICK_S, self._keepalive.interval_s / 8))
            if self.connected:
                self._due_s = self._clock() + _STALL_S
                self._keep_alive()

    def _keep_alive(self) -> None:
        stream, now_s = self._stream, self._clock()
        assert stream is not None
        assert self._connected_s is not None
        if now_s - self._connected_s >= LASTED_S:
            self._backoff.connection_ended(now_s - self._connected_s)
            self._reports.lasted()
        is_quiet = now_s - stream.read_s >= self._suback_timeout_s * _QUIET_PART
        if self._session.awaits_suback and is_quiet and now_s - self._connected_s >= self._suback_timeout_s:
            # Connected and deaf: it would count as online, and receive nothing.
            silence = f"the broker has not answered a SUBSCRIBE within {self._suback_timeout_s:g} s"
            self._end(silence, problem=ConnectionProblem.NO_ANSWER)
            return
        action = self._keepalive.next_action(
            now_s, read_s=stream.read_s, written_s=stream.written_s, has_unsent=stream.unsent_bytes > 0
        )
        if action is KeepAliveAction.PING:
            stream.write(packets.PING_REQUEST)
        elif action is KeepAliveAction.GIVE_UP:
            silence = f"the broker gave no answer to a ping within {self._keepalive.interval_s:.0f} s"
            self._end(silence, problem=ConnectionProblem.NO_ANSWER)

    def _handle(self, first: int, body: memoryview) -> None:
        """Handle one packet.

        Raises:
            ProtocolError: It breaks the specification.
        """
        kind = first >> 4
        decoding.check_flags(first)
        if kind == packets.CONNACK:
            self._handle_connack(decoding.decode_connack(body))
        elif kind == packets.DISCONNECT:
            code, text = decoding.decode_disconnect(body)
            self._end(f"the broker disconnected: {advise(code, text)}", code=code, problem=problem_of_disconnect(code))
        elif not self.connected:
            raise ProtocolError(f"a packet of type {kind} before the CONNACK")
        elif kind == packets.PINGRESP:
            self._keepalive.answered()
        else:
            self._session.handle(first, body)

    def _handle_connack(self, answer: ConnectAnswer) -> None:
        if self._answer is None or self._answer.done():
            raise ProtocolError("a CONNACK that no CONNECT asked for")
        refusal = self._handshake.examine(answer, self._broker_name)
        if refusal is not None:
            self._end(refusal)
            return
        limits = BrokerLimits.from_properties(answer.properties)
        stream = self._stream
        assert stream is not None
        self._limits, self._connected_s = limits, self._clock()
        self._reports.connected()
        self._keepalive = KeepAlive(limits.server_keepalive_s or self._options.keepalive_s)
        self._session.open(stream, limits, session_present=answer.session_present)
        # Before anything that follows the CONNACK in the same read: messages of the session are sent again at once.
        self._on_connected(session_present=answer.session_present)
        if not self._answer.done():
            self._answer.set_result(limits)
            log.info("connected to %s session_present=%s", self._broker_name, answer.session_present)

    def _end(
        self, why: Exception | str, *, code: int = 0, problem: ConnectionProblem = ConnectionProblem.CLOSED
    ) -> None:
        """Close the connection because of what happened to it, and report that.

        Args:
            why: What ended it.
            code: The reason code of the broker's DISCONNECT packet.
            problem: The kind of end.
        """
        if self._stream is None:
            return
        if self._disconnecting:
            # The broker closes the connection as it was asked to.
            self._close()
            return
        reason = None
        if isinstance(why, ConnectFailedError):
            problem = why.problem
        elif isinstance(why, ProtocolError):
            problem, reason = ConnectionProblem.PROTOCOL_ERROR, why.reason
        elif isinstance(why, Exception) and not isinstance(why, OSError):
            problem, reason = ConnectionProblem.INTERNAL, UNSPECIFIED_ERROR
        blames = code > 0 or problem is ConnectionProblem.CLOSED
        self._close(reason=reason, may_blame_publication=blames and may_blame_publication(code))
        if problem is ConnectionProblem.CLOSED and self._backoff.failures >= _UNSTABLE_FAILURES:
            # mosquitto does not say that a session is taken over.
            problem = ConnectionProblem.UNSTABLE
            why = (
                f"{why}, as it did with the connections before, right after they were accepted; does another client "
                f"use the client identifier {self._options.client_id!r}? The broker's log may say more"
            )
        if self._answer is None or self._answer.done():
            log.warning("connection to %s ended: %s", self._broker_name, why)
            self._reports.report(problem, f"{self._broker_name}: {why}")
            return
        if not isinstance(why, ConnectFailedError):
            message = f"{self._broker_name}: connection closed before it was accepted: {why}"
            why = ConnectFailedError(message, problem=problem)
        self._answer.set_exception(why)

    def _close(self, *, reason: int | None = None, may_blame_publication: bool = False) -> None:
        """Close the connection; the session waits for the next.

        Args:
            reason: The reason code for a DISCONNECT packet; None sends none.
            may_blame_publication: Whether the broker may have ended the connection because of a publication.
        """
        stream, self._stream, self._limits = self._stream, None, None
        if stream is None:
            return
        if reason is not None:
            stream.write(packets.encode_disconnect(reason))
            stream.flush()
        stream.close()
        if self._connected_s is not None:
            self._backoff.connection_ended(self._clock() - self._connected_s)
            self._connected_s = None
        self._session.close(may_blame_publication=may_blame_publication)
        self._lost.set()
