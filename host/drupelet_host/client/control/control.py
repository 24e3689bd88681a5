"""Orders to devices: commands, each with its progress and its result."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from types import TracebackType
from typing import Self, TypeVar

from paho.mqtt.client import MQTTMessage
from pydantic import BaseModel, ValidationError

from drupelet_host.client.connection.address import BrokerAddress
from drupelet_host.client.connection.confirmations import Confirmations
from drupelet_host.client.connection.connection import Connection, publish_properties
from drupelet_host.client.control.orders import Answer, Order, OrderBook
from drupelet_host.errors import BrokerError, RemoteError
from drupelet_shared.contract.commands import CommandProgress
from drupelet_shared.contract.topics import DEFAULT_PREFIX, DeviceTopics
from drupelet_shared.contract.wire import CODE_PROPERTY, JSON_TYPE, OK_CODE, PROGRESS_CODE

# Measuring one slow candidate passes in silence.
DEFAULT_SILENCE_S = 180.0
# What no device has taken by then is not carried out later, when nobody waits for it any more.
_EXPIRY_S = 60

OnProgress = Callable[[CommandProgress], None]
UserProperties = Sequence[tuple[str, str]]
Send = Callable[[str, bytes, UserProperties], None]
Message = TypeVar("Message", bound=BaseModel)


def ignore_progress(_: CommandProgress) -> None:
    """Progress that nobody wants to see."""


class ControlClient:
    """Gives orders to any device on a broker, as a context manager; safe to use from several threads.

    Example:
        with ControlClient(broker=BrokerAddress("broker.local")) as control:
            control.command("pi-7", "rollback", RollBackRequest(model="digits"), InstalledRelease)
    """

    def __init__(self, *, broker: BrokerAddress, prefix: str = DEFAULT_PREFIX, connect_timeout_s: float = 10.0) -> None:
        self._prefix = prefix
        self._confirmations = Confirmations()
        self._connection = Connection(broker, on_message=self._received, on_published=self._confirmations.heard)
        self._connect_timeout_s = connect_timeout_s
        self._reply_topic = f"{prefix.strip('/')}/clients/{self._connection.client_id}/reply"
        self._orders = OrderBook()
        self._watched: set[str] = set()

    def __enter__(self) -> Self:
        """Connect.

        Raises:
            BrokerError: The broker cannot be reached or refuses.
        """
        self._connection.open(self._reply_topic, timeout_s=self._connect_timeout_s)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Disconnect."""
        self._connection.close()

    def give_up(self) -> None:
        """End every order that is waited for, and take no more; other threads then come to their end."""
        self._orders.give_up()

    def topics(self, device: str) -> DeviceTopics:
        """The topics of a device under the client's prefix."""
        return DeviceTopics(device, prefix=self._prefix)

    def command(
        self,
        device: str,
        name: str,
        request: BaseModel,
        result: type[Message],
        *,
        on_progress: OnProgress = ignore_progress,
        silence_s: float = DEFAULT_SILENCE_S,
    ) -> Message:
        """Have a device run a command and wait until it is done.

        Args:
            device: The device.
            name: The command.
            request: What it takes.
            result: What it answers.
            on_progress: Told of each step.
            silence_s: How long to wait for the next word of the device.

        Raises:
            RemoteError: The device refused or failed; `device_code` says why.
            DeviceRestartedError: Its agent was started again meanwhile; whether the command was done, `list` tells.
            DeviceOfflineError: It is not there.
            ReplyTimeoutError: It was silent for too long.
        """
        topic = self.topics(device).command(name)
        with self.order(device, f"command {name}") as (order, send):
            send(topic, request.model_dump_json(exclude_none=True).encode(), ())
            while (answer := order.next(timeout_s=silence_s)).code == PROGRESS_CODE:
                on_progress(_read(answer, CommandProgress, order))
            return _read(answer, result, order)

    @contextmanager
    def order(self, device: str, what: str) -> Iterator[tuple[Order, Send]]:
        """An order whose answers are awaited until the block ends, and how to send its messages.

        The second value takes a topic, a payload and User Properties; it may be called several times.

        Raises:
            DeviceOfflineError: The device is not there.
        """
        topics = self.topics(device)
        if device not in self._watched:
            self._watched.add(device)
            self._connection.subscribe(topics.status)
        self._orders.await_online(device, timeout_s=self._connect_timeout_s)
        correlation, order = self._orders.open(device, what)

        def send(topic: str, payload: bytes, user_properties: UserProperties) -> None:
            properties = publish_properties()
            properties.ResponseTopic = self._reply_topic
            properties.CorrelationData = correlation
            properties.MessageExpiryInterval = _EXPIRY_S
            if not user_properties:
                properties.ContentType = JSON_TYPE
                properties.PayloadFormatIndicator = 1
            for pair in user_properties:
                properties.UserProperty = pair
            mid = self._connection.publish(topic, payload, properties)
            self._confirmations.expect(mid, lambda refusal: order.put(_refused(topic, refusal)) if refusal else None)

        try:
            yield order, send
        finally:
            self._orders.close(correlation)

    def retain(self, topic: str, payload: bytes, *, timeout_s: float) -> None:
        """Publish a retained message, and wait until the broker has it.

        Raises:
            BrokerError: The broker refuses, or does not take it in time.
        """
        confirmed: Future[str | None] = Future()
        self._confirmations.expect(self._connection.publish(topic, payload, retain=True), confirmed.set_result)
        try:
            refusal = confirmed.result(timeout_s)
        except TimeoutError as error:
            raise BrokerError(f"topic {topic}: the broker has not taken the message within {timeout_s:g} s") from error
        if refusal is not None:
            raise _refused(topic, refusal)

    def _received(self, message: MQTTMessage) -> None:
        """Runs on the network thread."""
        if message.topic != self._reply_topic:
            self._orders.heard_status(bytes(message.payload))
            return
        user = dict(getattr(message.properties, "UserProperty", ()))
        answer = Answer(user.get(CODE_PROPERTY, OK_CODE), bytes(message.payload))
        self._orders.answered(getattr(message.properties, "CorrelationData", None), answer)


def _refused(topic: str, reason: str) -> BrokerError:
    return BrokerError(f"topic {topic}: the broker refuses the message: {reason}")


def _read(answer: Answer, message: type[Message], order: Order) -> Message:
    try:
        return message.model_validate_json(answer.payload)
    except ValidationError as error:
        raise RemoteError(f"device {order.device!r}, {order.what}: malformed answer: {error}") from error
