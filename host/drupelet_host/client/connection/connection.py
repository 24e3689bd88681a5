"""The MQTT 5 connection over the network, on top of paho-mqtt."""

from __future__ import annotations

import logging
import secrets
import threading

from paho.mqtt.client import Client, ConnectFlags, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from drupelet_host.client.connection.address import BrokerAddress
from drupelet_host.client.connection.confirmations import Confirmations
from drupelet_host.client.connection.failures import explain_closing, explain_error, explain_refusal
from drupelet_host.client.connection.paho_client import TolerantClient, describe_puback
from drupelet_host.client.connection.paho_properties import publish_properties, read_message, session_expiry
from drupelet_host.client.connection.tls import make_client_tls
from drupelet_host.client.connection.transport import (
    ConfirmationHandler,
    MessageHandler,
    MessageProperties,
    ReceivedMessage,
    ignore_confirmation,
)
from drupelet_host.errors import BrokerError
from drupelet_shared.contract.topics import DEFAULT_PREFIX
from drupelet_shared.errors import PayloadSizeError
from drupelet_shared.transport import acknowledge_now, set_no_delay

log = logging.getLogger(__name__)

_KEEPALIVE_S = 30
# How long the broker keeps replies for a client whose connection broke.
_SESSION_EXPIRY_S = 120
_MAX_RECONNECT_DELAY_S = 8
# An upper bound on what topic and properties add to a packet.
_PACKET_OVERHEAD_BYTES = 2048


class Connection:
    """One MQTT 5 client of a broker; implements `Transport` and is safe to use from several threads.

    A broken connection is made again in the background. With `keeps_session` the broker stores messages meanwhile and
    the subscriptions use QoS 1. Without it they use QoS 0 and are made again after each reconnect, which delivers all
    retained messages anew; that suits a client that only observes.
    """

    def __init__(self, broker: BrokerAddress, *, keeps_session: bool = True, acknowledges_at_once: bool = True) -> None:
        """Make a connection that is not open yet.

        Args:
            broker: The broker's address.
            keeps_session: Whether the broker keeps messages for the client while the connection is broken.
            acknowledges_at_once: Whether TCP acknowledges each packet at once, which a broker with Nagle's algorithm
                waits for before it sends the next small one.

        Raises:
            InvalidValueError: A certificate or key file of the address cannot be read.
        """
        self._client_id = f"drupelet-{secrets.token_hex(8)}"
        self._broker = broker
        self._topics: set[str] = set()
        self._ready = threading.Event()
        self._refusal: str | None = None
        self._max_packet_bytes: int | None = None
        self._on_message: MessageHandler = _ignore_message
        self._confirmations = Confirmations()
        self._session_expiry_s = _SESSION_EXPIRY_S if keeps_session else 0
        # rumqttd loses retained messages beyond 100 that wait for acknowledgements; mosquitto sends all of them.
        self._qos = 1 if keeps_session else 0
        self._acknowledges_at_once = acknowledges_at_once
        self._client = self._build_client()

    @property
    def client_id(self) -> str:
        """The client's identifier, which is random."""
        return self._client_id

    @property
    def is_connected(self) -> bool:
        """Whether the connection stands now; a broken one is made again without a call."""
        return self._client.is_connected()

    @property
    def max_payload_bytes(self) -> int | None:
        """The largest payload that fits into a packet the broker accepts; None without a limit or a connection."""
        limit = self._max_packet_bytes
        return None if limit is None else max(0, limit - _PACKET_OVERHEAD_BYTES)

    def open(self, topic: str, *, on_message: MessageHandler, timeout_s: float) -> None:
        """Connect and subscribe to a first topic; its subscription is in force when this returns.

        Args:
            topic: The first topic.
            on_message: Receives each message, on the network thread. It must return quickly and not raise.
            timeout_s: The limit for the whole call.

        Raises:
            BrokerError: The broker cannot be reached, refuses the client, or does not answer in time.
        """
        self._topics.add(topic)
        self._on_message = on_message
        properties = session_expiry(PacketTypes.CONNECT, self._session_expiry_s)
        try:
            self._client.connect_timeout = timeout_s
            self._client.connect(self._broker.host, self._broker.port, keepalive=_KEEPALIVE_S, properties=properties)
        except (OSError, ValueError) as error:
            raise BrokerError(
                f"broker {self._broker}: {explain_error(error, broker=self._broker, timeout_s=timeout_s)}"
            ) from error
        self._client.loop_start()
        refusal = self._refusal if self._ready.wait(timeout_s) else f"no answer within {timeout_s:g} s"
        if refusal is not None:
            self.close()
            raise BrokerError(f"broker {self._broker}: {refusal}")

    def close(self) -> None:
        """Disconnect; the broker forgets the client and no message is handed over after this returns."""
        self._client.disconnect(properties=session_expiry(PacketTypes.DISCONNECT, 0))
        self._client.loop_stop()

    def subscribe(self, topic: str) -> None:
        """Receive the messages of a topic, retained ones first, also after a reconnect."""
        self._topics.add(topic)
        self._client.subscribe(topic, qos=self._qos)

    def unsubscribe(self, topic: str) -> None:
        """Stop receiving the messages of a topic."""
        self._topics.discard(topic)
        self._client.unsubscribe(topic)

    def publish(
        self,
        topic: str,
        payload: bytes,
        properties: MessageProperties | None = None,
        *,
        retain: bool = False,
        on_confirmed: ConfirmationHandler | None = None,
    ) -> None:
        """Publish with QoS 1, now or as soon as the connection is back.

        Args:
            topic: The topic.
            payload: The payload.
            properties: The MQTT 5 properties; none by default.
            retain: Whether the broker stores the message for later subscribers; an empty payload deletes it.
            on_confirmed: Called once with the broker's answer, on either thread. It must return quickly.

        Raises:
            PayloadSizeError: The broker does not accept a packet of that size; it would close the connection.
        """
        limit = self.max_payload_bytes
        if limit is not None and len(payload) > limit:
            raise PayloadSizeError(
                f"request has {len(payload)} bytes: broker {self._broker} takes packets of {self._max_packet_bytes}"
            )
        converted = None if properties is None else publish_properties(properties)
        sent = self._client.publish(topic, payload, qos=1, retain=retain, properties=converted)
        self._confirmations.expect(sent.mid, on_confirmed or ignore_confirmation)

    def _build_client(self) -> TolerantClient:
        client = TolerantClient(CallbackAPIVersion.VERSION2, client_id=self._client_id, protocol=MQTTv5)
        client.reconnect_delay_set(min_delay=1, max_delay=_MAX_RECONNECT_DELAY_S)
        if self._broker.username is not None:
            client.username_pw_set(self._broker.username, self._broker.password)
        if self._broker.tls is not None:
            client.tls_set_context(make_client_tls(self._broker.tls))
        client.on_socket_open = lambda _client, _userdata, opened: set_no_delay(opened)
        client.on_connect = self._handle_connect
        client.on_disconnect = self._handle_disconnect
        client.on_subscribe = self._handle_subscribe
        client.on_message = self._handle_message
        client.on_plain_message = self._handle_plain_message
        client.on_publish = self._handle_publish
        return client

    def _handle_connect(
        self, client: Client, _: object, flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if reason.is_failure:
            self._refusal = explain_refusal(reason)
            self._ready.set()
            return
        self._max_packet_bytes = getattr(properties, "MaximumPacketSize", None)
        log.debug("connected broker=%s session_present=%s", self._broker, flags.session_present)
        if not flags.session_present:
            for topic in tuple(self._topics):
                client.subscribe(topic, qos=self._qos)

    def _handle_disconnect(
        self, _: Client, __: object, ___: object, reason: ReasonCode, ____: Properties | None
    ) -> None:
        log.debug("disconnected broker=%s reason=%s", self._broker, reason)
        if not self._ready.is_set():
            self._refusal = explain_closing(reason)
            self._ready.set()

    def _handle_subscribe(
        self, _: Client, __: object, ___: int, reasons: list[ReasonCode], ____: Properties | None
    ) -> None:
        refused = [str(reason) for reason in reasons if reason.is_failure]
        if refused and not self._ready.is_set():
            self._refusal = f"subscription refused: {refused[0]}"
        self._ready.set()

    def _handle_publish(self, client: Client, _: object, mid: int, reason: ReasonCode, __: Properties | None) -> None:
        # Nagle's algorithm in the broker holds the reply back until this answer to the request is acknowledged.
        self._acknowledge(client)
        self._confirmations.resolve(mid, describe_puback(self._client.puback_reason) if reason.is_failure else None)

    def _handle_message(self, client: Client, _: object, message: MQTTMessage) -> None:
        if not self._client.has_unread:
            self._acknowledge(client)
        self._on_message(read_message(message))

    def _handle_plain_message(self, topic: str, payload: bytes, is_retained: bool) -> None:  # noqa: FBT001 - paho's way
        if not self._client.has_unread:
            self._acknowledge(self._client)
        self._on_message(ReceivedMessage(topic, payload, is_retained=is_retained))

    def _acknowledge(self, client: Client) -> None:
        if self._acknowledges_at_once:
            acknowledge_now(client.socket())


def check_broker(broker: BrokerAddress, *, timeout_s: float) -> None:
    """Connect to a broker and disconnect again.

    Raises:
        BrokerError: The broker cannot be reached, refuses the client, or does not answer in time.
        InvalidValueError: A certificate or key file of the address cannot be read.
    """
    connection = Connection(broker, keeps_session=False)
    topic = f"{DEFAULT_PREFIX}/clients/{connection.client_id}/reply"
    connection.open(topic, on_message=_ignore_message, timeout_s=timeout_s)
    connection.close()


def _ignore_message(_: ReceivedMessage) -> None:
    """Discard a message."""
