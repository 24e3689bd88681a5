"""The MQTT 5 connection: its session survives a reconnect, its subscriptions come back when the session is gone."""

from __future__ import annotations

import logging
import secrets
import ssl
import threading
from collections.abc import Callable

from paho.mqtt.client import Client, ConnectFlags, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from drupelet_host.client.connection.address import BrokerAddress, TlsOptions
from drupelet_host.errors import BrokerError
from drupelet_shared.contract.topics import DEFAULT_PREFIX
from drupelet_shared.errors import InvalidValueError, PayloadSizeError
from drupelet_shared.transport import make_tls_context, set_no_delay

log = logging.getLogger(__name__)

_KEEPALIVE_S = 30
# How long the broker keeps replies for a client whose connection broke.
_SESSION_EXPIRY_S = 120
_MAX_RECONNECT_DELAY_S = 8
# What topic and properties add to a packet, generously.
_PACKET_OVERHEAD_BYTES = 2048

MessageHandler = Callable[[MQTTMessage], None]
PublishedHandler = Callable[[int, str | None], None]


class Connection:
    """One client of a broker; safe to use from several threads.

    Args:
        broker: Where it is.
        on_message: Called on the network thread.
        keeps_session: Whether the broker keeps messages while the connection is gone. Who only watches has no use for
            what it missed: it subscribes with QoS 0, and gets all retained messages again after each connect.
        on_published: Called on the network thread when the broker has taken a message, or refuses it for a reason.
    """

    def __init__(
        self,
        broker: BrokerAddress,
        *,
        on_message: MessageHandler,
        keeps_session: bool = True,
        on_published: PublishedHandler | None = None,
    ) -> None:
        self.client_id = f"drupelet-{secrets.token_hex(8)}"
        self._broker = broker
        self._topics: set[str] = set()
        self._ready = threading.Event()
        self._refusal: str | None = None
        self._max_packet_bytes: int | None = None
        self._on_message = on_message
        self._on_published = on_published
        self._session_expiry_s = _SESSION_EXPIRY_S if keeps_session else 0
        # rumqttd loses retained messages beyond 100 that wait for acknowledgements; mosquitto sends all of them.
        self._qos = 1 if keeps_session else 0
        self._client = self._build_client()

    def open(self, topic: str, *, timeout_s: float) -> None:
        """Connect and subscribe.

        Args:
            topic: A first subscription, in force when this returns.
            timeout_s: For all of it.

        Raises:
            BrokerError: The broker cannot be reached, refuses, or does not answer in time.
        """
        self._topics.add(topic)
        properties = _session_expiry(PacketTypes.CONNECT, self._session_expiry_s)
        try:
            self._client.connect_timeout = timeout_s
            self._client.connect(self._broker.host, self._broker.port, keepalive=_KEEPALIVE_S, properties=properties)
        except (OSError, ValueError) as error:
            raise BrokerError(f"broker {self._broker}: {error}") from error
        self._client.loop_start()
        refusal = self._refusal if self._ready.wait(timeout_s) else f"no answer within {timeout_s:g} s"
        if refusal is not None:
            self.close()
            raise BrokerError(f"broker {self._broker}: {refusal}")

    def close(self) -> None:
        """Leave; the broker forgets the session."""
        self._client.disconnect(properties=_session_expiry(PacketTypes.DISCONNECT, 0))
        self._client.loop_stop()

    @property
    def is_connected(self) -> bool:
        """Whether the broker is there now; the connection comes back by itself."""
        return self._client.is_connected()

    def subscribe(self, topic: str) -> None:
        """Receive a topic's messages, retained ones first; also after a reconnect."""
        self._topics.add(topic)
        self._client.subscribe(topic, qos=self._qos)

    def unsubscribe(self, topic: str) -> None:
        """Receive a topic's messages no longer."""
        self._topics.discard(topic)
        self._client.unsubscribe(topic)

    def publish(self, topic: str, payload: bytes, properties: Properties | None = None, *, retain: bool = False) -> int:
        """Send with QoS 1, now or when the connection is back.

        Returns:
            The message's identifier, as `on_published` is told it.

        Raises:
            PayloadSizeError: The broker does not take packets of that size; it would close the connection.
        """
        limit = self._max_packet_bytes
        if limit is not None and len(payload) + _PACKET_OVERHEAD_BYTES > limit:
            raise PayloadSizeError(f"request has {len(payload)} bytes: broker {self._broker} takes packets of {limit}")
        return self._client.publish(topic, payload, qos=1, retain=retain, properties=properties).mid

    def _build_client(self) -> Client:
        client = Client(CallbackAPIVersion.VERSION2, client_id=self.client_id, protocol=MQTTv5)
        client.reconnect_delay_set(min_delay=1, max_delay=_MAX_RECONNECT_DELAY_S)
        if self._broker.username is not None:
            client.username_pw_set(self._broker.username, self._broker.password)
        if self._broker.tls is not None:
            client.tls_set_context(make_client_tls(self._broker.tls))
        client.on_socket_open = lambda _client, _userdata, opened: set_no_delay(opened)
        client.on_connect = self._connected
        client.on_disconnect = self._disconnected
        client.on_subscribe = self._subscribed
        client.on_message = self._received
        if self._on_published is not None:
            client.on_publish = self._published
        return client

    def _connected(
        self, client: Client, _: object, flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if reason.is_failure:
            self._refusal = str(reason)
            self._ready.set()
            return
        self._max_packet_bytes = getattr(properties, "MaximumPacketSize", None)
        log.debug("connected broker=%s session_present=%s", self._broker, flags.session_present)
        if not flags.session_present:
            for topic in tuple(self._topics):
                client.subscribe(topic, qos=self._qos)

    def _disconnected(self, _: Client, __: object, ___: object, reason: ReasonCode, ____: Properties | None) -> None:
        log.debug("disconnected broker=%s reason=%s", self._broker, reason)
        if not self._ready.is_set():
            self._refusal = f"connection closed before it was accepted: {reason}"
            self._ready.set()

    def _subscribed(self, _: Client, __: object, ___: int, reasons: list[ReasonCode], ____: Properties | None) -> None:
        refused = [str(reason) for reason in reasons if reason.is_failure]
        if refused and not self._ready.is_set():
            self._refusal = f"subscription refused: {refused[0]}"
        self._ready.set()

    def _published(self, _: Client, __: object, mid: int, reason: ReasonCode, ___: Properties | None) -> None:
        assert self._on_published is not None
        self._on_published(mid, str(reason) if reason.is_failure else None)

    def _received(self, _: Client, __: object, message: MQTTMessage) -> None:
        self._on_message(message)


def check_broker(broker: BrokerAddress, *, timeout_s: float) -> None:
    """Connect and leave.

    Raises:
        BrokerError: The broker cannot be reached, refuses, or does not answer in time.
    """
    connection = Connection(broker, on_message=lambda _: None, keeps_session=False)
    connection.open(f"{DEFAULT_PREFIX}/clients/{connection.client_id}/reply", timeout_s=timeout_s)
    connection.close()


def publish_properties() -> Properties:
    """Empty properties for a message to publish."""
    return Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call] # paho leaves it untyped


def _session_expiry(packet_type: int, seconds: int) -> Properties:
    properties = Properties(packet_type)  # type: ignore[no-untyped-call] # paho leaves it untyped
    properties.SessionExpiryInterval = seconds
    return properties


def make_client_tls(tls: TlsOptions) -> ssl.SSLContext:
    """The TLS of a connection to a broker.

    Raises:
        InvalidValueError: The certificates cannot be read.
    """
    try:
        return make_tls_context(ca_file=tls.ca_file, cert_file=tls.cert_file, key_file=tls.key_file)
    except OSError as error:
        files = ", ".join(str(file) for file in (tls.ca_file, tls.cert_file, tls.key_file) if file)
        raise InvalidValueError(f"certificates {files}: {error}") from error
