"""Calls to devices: commands, each with its progress and its result."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from types import TracebackType
from typing import Self, TypeVar

from pydantic import BaseModel, ValidationError

from drupelet_host.client.connection.address import BrokerAddress
from drupelet_host.client.connection.connection import Connection
from drupelet_host.client.connection.presence import explain_absence, read_statuses, status_filter
from drupelet_host.client.connection.retained import QUIET_S, RetainedTopics
from drupelet_host.client.connection.transport import MessageProperties, ReceivedMessage, TransportFactory
from drupelet_host.client.control.calls import CallAnswer, PendingCall, PendingCalls
from drupelet_host.errors import BrokerError, DeviceOfflineError, RemoteError
from drupelet_shared.contract.commands import CommandProgress
from drupelet_shared.contract.messages import DeviceStatus
from drupelet_shared.contract.topics import DEFAULT_PREFIX, DeviceTopics
from drupelet_shared.contract.wire import CODE_PROPERTY, JSON_TYPE, OK_CODE, PROGRESS_CODE

# A device sends nothing while it measures one slow candidate.
DEFAULT_SILENCE_S = 180.0
# A command that no device has received by then is dropped, because its sender no longer waits.
_EXPIRY_S = 60

OnProgress = Callable[[CommandProgress], None]
UserProperties = Sequence[tuple[str, str]]
SendMessage = Callable[[str, bytes, UserProperties], None]
CommandResult = TypeVar("CommandResult", bound=BaseModel)


def ignore_progress(_: CommandProgress) -> None:
    """Discard a progress message."""


class ControlClient:
    """Sends commands to any device on a broker, as a context manager; safe to use from several threads.

    For example::

        with ControlClient(broker=BrokerAddress("broker.local")) as control:
            control.command("pi-7", "rollback", RollBackRequest(model="digits"), InstalledRelease)
    """

    def __init__(
        self,
        *,
        broker: BrokerAddress,
        prefix: str = DEFAULT_PREFIX,
        connect_timeout_s: float = 10.0,
        transport_factory: TransportFactory = Connection,
    ) -> None:
        """Make a client that is not connected yet.

        Args:
            broker: The broker's address.
            prefix: The first levels of the topics.
            connect_timeout_s: The limit for connecting to the broker, and for a device to be online.
            transport_factory: Makes the connection to the broker.

        Raises:
            InvalidValueError: A certificate file cannot be read.
        """
        self._prefix = prefix
        self._transport = transport_factory(broker)
        self._connect_timeout_s = connect_timeout_s
        self._reply_topic = f"{prefix.strip('/')}/clients/{self._transport.client_id}/reply"
        self._calls = PendingCalls()
        self._retained = RetainedTopics(self._transport)
        self._watch_lock = threading.Lock()
        self._watched: set[str] = set()

    def __enter__(self) -> Self:
        """Connect.

        Raises:
            BrokerError: The broker cannot be reached or refuses the client.
        """
        self._transport.open(self._reply_topic, on_message=self._receive, timeout_s=self._connect_timeout_s)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Disconnect."""
        self._transport.close()

    @property
    def max_payload_bytes(self) -> int | None:
        """The largest payload that the broker accepts; None if it has announced no limit."""
        return self._transport.max_payload_bytes

    def cancel(self) -> None:
        """Fail all calls, those under way and those to come, so that the threads that wait for them end."""
        self._calls.cancel()

    def topics(self, device: str) -> DeviceTopics:
        """Return the topics of a device under the client's prefix."""
        return DeviceTopics(device, prefix=self._prefix)

    def command(
        self,
        device: str,
        name: str,
        request: BaseModel,
        result: type[CommandResult],
        *,
        on_progress: OnProgress = ignore_progress,
        silence_s: float = DEFAULT_SILENCE_S,
    ) -> CommandResult:
        """Run a command on a device and wait for its result.

        Args:
            device: The device's name.
            name: The command's name.
            request: The command's arguments.
            result: The type of the command's result.
            on_progress: Receives each progress message.
            silence_s: The time to wait for the next message of the device.

        Returns:
            The command's result.

        Raises:
            RemoteError: The device refused the command or failed; `device_code` holds its error code.
            DeviceRestartedError: The agent was restarted before it answered; `list` shows whether the command was done.
            DeviceOfflineError: The device is not online.
            ReplyTimeoutError: The device sent nothing for `silence_s`.
        """
        topic = self.topics(device).command(name)
        with self.call(device, f"command {name}") as (call, send):
            send(topic, request.model_dump_json(exclude_none=True).encode(), ())
            while (answer := call.next(timeout_s=silence_s)).code == PROGRESS_CODE:
                on_progress(_read(answer, CommandProgress, call))
            return _read(answer, result, call)

    @contextmanager
    def call(self, device: str, description: str) -> Iterator[tuple[PendingCall, SendMessage]]:
        """Open a call to a device; its answers are taken until the block ends.

        Args:
            device: The device's name.
            description: What the device is asked for, for error messages.

        Yields:
            The call, and a function that sends one of its messages: it takes a topic, a payload and User Properties.

        Raises:
            DeviceOfflineError: The device is not online.
        """
        self._wait_until_online(device)
        correlation, call = self._calls.open(device, description)

        def send(topic: str, payload: bytes, user_properties: UserProperties) -> None:
            is_json = not user_properties
            properties = MessageProperties(
                response_topic=self._reply_topic,
                correlation_data=correlation,
                expiry_s=_EXPIRY_S,
                content_type=JSON_TYPE if is_json else None,
                is_text=is_json,
                user_properties=tuple(user_properties),
            )

            def confirm(refusal: str | None) -> None:
                if refusal is not None:
                    call.put(_refusal(topic, refusal))

            self._transport.publish(topic, payload, properties, on_confirmed=confirm)

        try:
            yield call, send
        finally:
            self._calls.close(correlation)

    def retain(self, topic: str, payload: bytes, *, timeout_s: float) -> None:
        """Publish a retained message and wait until the broker has accepted it.

        Args:
            topic: The topic.
            payload: The payload; an empty one deletes the retained message.
            timeout_s: The time to wait for the broker.

        Raises:
            BrokerError: The broker refuses the message, or does not accept it within `timeout_s`.
        """
        confirmed: Future[str | None] = Future()
        self._transport.publish(topic, payload, retain=True, on_confirmed=confirmed.set_result)
        try:
            refusal = confirmed.result(timeout_s)
        except TimeoutError as error:
            raise BrokerError(
                f"topic {topic}: the broker has not accepted the message within {timeout_s:g} s"
            ) from error
        if refusal is not None:
            raise _refusal(topic, refusal)

    def read_statuses(self, devices: Collection[str] = ()) -> dict[str, DeviceStatus]:
        """Return the retained statuses of devices by name: of all, as soon as those of `devices` are among them."""
        topics = {self.topics(device).status for device in devices}
        payloads = self._retained.read_until(
            status_filter(self._prefix), lambda known: bool(topics) and topics <= set(known), timeout_s=2 * QUIET_S
        )
        return read_statuses(payloads)

    def _wait_until_online(self, device: str) -> None:
        status_topic = self.topics(device).status
        with self._watch_lock:
            is_new = device not in self._watched
            self._watched.add(device)
        if is_new:
            self._transport.subscribe(status_topic)
        try:
            self._calls.wait_until_online(device, timeout_s=self._connect_timeout_s)
        except DeviceOfflineError as error:
            # Also tells whether another name is meant.
            absence = explain_absence(device, self.read_statuses(), prefix=self._prefix)
            raise (absence or error) from None

    def _receive(self, message: ReceivedMessage) -> None:
        """Take a message on the network thread."""
        if message.topic != self._reply_topic:
            self._calls.receive_status(message.payload)
            self._retained.receive(message)
            return
        code = dict(message.user_properties).get(CODE_PROPERTY, OK_CODE)
        self._calls.receive_answer(message.correlation_data, CallAnswer(code, message.payload))


def _refusal(topic: str, reason: str) -> BrokerError:
    return BrokerError(f"topic {topic}: the broker refuses the message: {reason}")


def _read(answer: CallAnswer, message: type[CommandResult], call: PendingCall) -> CommandResult:
    try:
        return message.model_validate_json(answer.payload)
    except ValidationError as error:
        raise RemoteError(f"device {call.device!r}, {call.description}: malformed answer: {error}") from error
