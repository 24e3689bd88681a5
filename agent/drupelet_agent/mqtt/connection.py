"""The connection to the broker: paho-mqtt driven by the event loop, reconnecting with jittered backoff."""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from drupelet_agent.config import BrokerConfig
from drupelet_agent.credentials import read_secret
from drupelet_agent.errors import BrokerError, ConfigError
from drupelet_shared.transport import make_tls_context, set_no_delay

log = logging.getLogger(__name__)

_CONNECT_TIMEOUT_S = 10.0
_HOUSEKEEPING_S = 1.0
_FIRST_BACKOFF_S = 0.25
_LONGEST_BACKOFF_S = 30.0
# Past what is due by this much, the connection's own tasks no longer work.
_STALL_S = 15.0


@dataclass(frozen=True, slots=True)
class Publication:
    """A message to send."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False
    properties: Properties | None = None


class OnConnected(Protocol):
    """Called after each connect; without a session the broker knows nothing of earlier subscriptions and requests."""

    def __call__(self, *, session_present: bool) -> None:
        """Announce and subscribe."""


class BrokerConnection:
    """One MQTT 5 session; every callback runs on the event loop."""

    def __init__(
        self,
        config: BrokerConfig,
        *,
        client_id: str,
        receive_maximum: int,
        max_packet_bytes: int,
        on_connected: OnConnected,
        on_message: Callable[[paho.MQTTMessage], None],
        will: Publication | None = None,
    ) -> None:
        self._config = config
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._reading = False
        self._on_connected = on_connected
        self._connack: asyncio.Future[tuple[ReasonCode, bool]] | None = None
        self._lost = asyncio.Event()
        self._due_s = time.monotonic() + _STALL_S
        self._receive_maximum = receive_maximum
        self._max_packet_bytes = max_packet_bytes
        self._client = self._make_client(client_id, will, on_message)

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted the session and the connection stands."""
        return self._client.is_connected()

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
                    log.warning("broker connection lost host=%s port=%d", self._config.host, self._config.port)
                except BrokerError as error:
                    attempt += 1
                    log.warning("%s (attempt %d)", error, attempt)
                ceiling_s = min(_LONGEST_BACKOFF_S, _FIRST_BACKOFF_S * 2**attempt)
                self._due_s = time.monotonic() + ceiling_s + _STALL_S
                await asyncio.sleep(random.uniform(0, ceiling_s))  # noqa: S311 - jitter
        finally:
            housekeeping.cancel()

    def publish(self, publication: Publication) -> None:
        """Send; what has QoS 1 and finds no connection waits in the session and goes out after the next connect."""
        self._client.publish(
            publication.topic,
            publication.payload,
            qos=publication.qos,
            retain=publication.retain,
            properties=publication.properties,
        )
        self._flush()

    def subscribe(self, *filters: str) -> None:
        """Subscribe with QoS 1 to what is sent from now on; retained messages are not wanted."""
        options = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND)
        self._client.subscribe([(topic_filter, options) for topic_filter in filters])
        self._flush()

    def acknowledge(self, packet_id: int) -> None:
        """Tell the broker that a QoS 1 message is dealt with."""
        self._client.ack(packet_id, 1)
        self._flush()

    async def disconnect(self) -> None:
        """Flush what waits to be written, for a second at most, and leave in good order (the will is not sent)."""
        for _ in range(100):
            if not self._client.want_write():
                break
            await asyncio.sleep(0.01)
        self._client.disconnect()
        if self._client.want_write():
            self._client.loop_write()

    def _make_client(
        self, client_id: str, will: Publication | None, on_message: Callable[[paho.MQTTMessage], None]
    ) -> paho.Client:
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=paho.MQTTv5, manual_ack=True)
        if will is not None:
            client.will_set(will.topic, will.payload, qos=will.qos, retain=will.retain, properties=will.properties)
        self._set_credentials(client)
        client.on_connect = self._handle_connect
        client.on_disconnect = self._handle_disconnect
        client.on_message = lambda _client, _userdata, message: on_message(message)
        client.on_socket_open = self._handle_socket_open
        client.on_socket_close = self._handle_socket_close
        client.on_socket_register_write = self._handle_register_write
        client.on_socket_unregister_write = self._handle_unregister_write
        return client

    def _set_credentials(self, client: paho.Client) -> None:
        config = self._config
        if config.username is not None:
            secret = read_secret(config.password_file).reveal() if config.password_file else None
            client.username_pw_set(config.username, secret)
        if config.tls is None:
            return
        tls = config.tls
        try:
            context = make_tls_context(ca_file=tls.ca_file, cert_file=tls.cert_file, key_file=tls.key_file)
        except OSError as error:
            # What OpenSSL says of a file does not name it.
            files = ", ".join(str(path) for _, path in tls if path is not None)
            raise ConfigError(f"broker credentials {files}: {error}") from error
        client.tls_set_context(context)

    async def connect(self) -> None:
        """Connect once.

        Raises:
            BrokerError: The broker is not there, does not answer or refuses.
        """
        self._connack = self._loop.create_future()
        self._lost.clear()
        where = f"broker {self._config.host}:{self._config.port}"
        try:
            # Name resolution, TCP and TLS handshakes block, so they happen on another thread.
            await asyncio.wait_for(self._loop.run_in_executor(None, self._dial), _CONNECT_TIMEOUT_S)
            reason, session_present = await asyncio.wait_for(self._connack, _CONNECT_TIMEOUT_S)
        except TimeoutError as error:
            self._client.disconnect()
            raise BrokerError(f"{where}: no answer within {_CONNECT_TIMEOUT_S:.0f} s") from error
        except OSError as error:
            raise BrokerError(f"{where}: {error}") from error
        if reason.is_failure:
            raise BrokerError(f"{where} refuses the connection: {reason}")
        log.info("connected to %s session_present=%s", where, session_present)

    def _dial(self) -> None:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call] # paho leaves it untyped
        properties.SessionExpiryInterval = self._config.session_expiry_s
        properties.ReceiveMaximum = self._receive_maximum
        properties.MaximumPacketSize = self._max_packet_bytes
        self._client.connect(
            self._config.host,
            self._config.port,
            keepalive=self._config.keepalive_s,
            clean_start=False,
            properties=properties,
        )

    async def _housekeep(self) -> None:
        while True:
            await asyncio.sleep(_HOUSEKEEPING_S)
            self._client.loop_misc()
            if self.connected:
                self._due_s = time.monotonic() + _STALL_S
            self._flush()

    def _handle_connect(
        self, _client: object, _userdata: object, flags: paho.ConnectFlags, reason: ReasonCode, _properties: object
    ) -> None:
        if not reason.is_failure:
            # Before anything that follows the CONNACK in the same read: messages of the session are sent again at once.
            self._on_connected(session_present=flags.session_present)
        if self._connack is not None and not self._connack.done():
            self._connack.set_result((reason, flags.session_present))

    def _handle_disconnect(
        self, _client: object, _userdata: object, _flags: object, reason: ReasonCode, _properties: object
    ) -> None:
        if threading.get_ident() == self._thread:
            self._mark_lost(reason)
        else:
            self._loop.call_soon_threadsafe(self._mark_lost, reason)

    def _mark_lost(self, reason: ReasonCode) -> None:
        if self._connack is not None and not self._connack.done():
            self._connack.set_exception(OSError(f"connection closed before it was accepted: {reason}"))
        self._lost.set()

    # Sockets open on the dialling thread; the event loop is told in its own.

    def _handle_socket_open(self, _client: object, _userdata: object, sock: paho.SocketLike) -> None:
        set_no_delay(sock)
        self._loop.call_soon_threadsafe(self._loop.add_reader, sock, self._on_readable, sock)

    def _handle_socket_close(self, _client: object, _userdata: object, sock: paho.SocketLike) -> None:
        # The descriptor is closed next, so the loop must forget it now: paho closes sockets on the loop's thread.
        self._loop.remove_reader(sock)
        self._loop.remove_writer(sock)

    def _handle_register_write(self, _client: object, _userdata: object, _sock: object) -> None:
        # What is queued on the loop's thread is written by whoever queued it, without another turn of the loop.
        if threading.get_ident() != self._thread:
            self._loop.call_soon_threadsafe(self._flush)

    def _handle_unregister_write(self, _client: object, _userdata: object, sock: paho.SocketLike) -> None:
        self._loop.remove_writer(sock)

    def _flush(self) -> None:
        """Write what is queued; what the socket does not take now follows when it can."""
        # Inside of a callback of paho's, its locks are held: `_on_readable` comes back here.
        if self._reading or not self._client.want_write():
            return
        self._client.loop_write()
        sock = self._client.socket()
        if sock is not None and self._client.want_write():
            self._loop.add_writer(sock, self._client.loop_write)

    def _on_readable(self, sock: paho.SocketLike) -> None:
        self._reading = True
        try:
            code = self._client.loop_read()
            # TLS may hold decrypted bytes that no longer make the descriptor readable.
            while code == MQTTErrorCode.MQTT_ERR_SUCCESS and isinstance(sock, ssl.SSLSocket) and sock.pending():
                code = self._client.loop_read()
        finally:
            self._reading = False
        self._flush()
