"""The connection to a broker as the clients see it: messages in, messages out, and what each carries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from drupelet_host.client.connection.address import BrokerAddress


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
    """A message that the broker delivered.

    Attributes:
        topic: The topic it was published on.
        payload: The payload as published.
        is_retained: Whether the broker had stored it before this client subscribed.
        content_type: The MQTT 5 Content Type; None if the publisher set none.
        correlation_data: The MQTT 5 Correlation Data; None if the publisher set none.
        user_properties: The MQTT 5 User Properties, in their order.
    """

    topic: str
    payload: bytes
    is_retained: bool = False
    content_type: str | None = None
    correlation_data: bytes | None = None
    user_properties: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageProperties:
    """The MQTT 5 properties of a message to publish; None leaves a property out.

    Attributes:
        response_topic: The topic of the answer.
        correlation_data: The bytes that the answer repeats.
        content_type: The media type of the payload.
        expiry_s: The time after which the broker drops the message, in whole seconds.
        is_text: Whether the payload is UTF-8 text (Payload Format Indicator 1).
        user_properties: Pairs of names and values.
    """

    response_topic: str | None = None
    correlation_data: bytes | None = None
    content_type: str | None = None
    expiry_s: int | None = None
    is_text: bool = False
    user_properties: tuple[tuple[str, str], ...] = ()


MessageHandler = Callable[[ReceivedMessage], None]
# Receives None when the broker has accepted a message, or the reason why it refused it.
ConfirmationHandler = Callable[[str | None], None]


class Transport(Protocol):
    """One MQTT 5 client of one broker; safe to use from several threads.

    `Connection` implements it over the network. Messages are handed over on a thread of the transport's own.
    """

    @property
    def client_id(self) -> str:
        """The client's identifier, which no other client of the broker has."""

    @property
    def is_connected(self) -> bool:
        """Whether the connection stands now; a broken one is made again without a call."""

    @property
    def max_payload_bytes(self) -> int | None:
        """The largest payload that fits into a packet the broker accepts; None without a limit or a connection."""

    def open(self, topic: str, *, on_message: MessageHandler, timeout_s: float) -> None:
        """Connect and subscribe to a first topic; its subscription is in force when this returns.

        Args:
            topic: The first topic.
            on_message: Receives each message, on the transport's own thread. It must return quickly and not raise.
            timeout_s: The limit for the whole call.

        Raises:
            BrokerError: The broker cannot be reached, refuses the client, or does not answer in time.
        """

    def close(self) -> None:
        """Disconnect; the broker forgets the client and no message is handed over after this returns."""

    def subscribe(self, topic: str) -> None:
        """Receive the messages of a topic, retained ones first, also after a reconnect."""

    def unsubscribe(self, topic: str) -> None:
        """Stop receiving the messages of a topic."""

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


class TransportFactory(Protocol):
    """Makes a transport that is not open yet; `Connection` is the one that talks to a broker."""

    def __call__(self, broker: BrokerAddress, *, keeps_session: bool = True) -> Transport:
        """Make the transport.

        Args:
            broker: The broker's address.
            keeps_session: Whether the broker keeps messages for the client while the connection is broken.
        """


def ignore_confirmation(_: str | None) -> None:
    """Discard the broker's answer to a message."""
