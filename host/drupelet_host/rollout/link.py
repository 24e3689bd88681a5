"""The connection of a roll-out to the broker: what devices announce comes in, orders and records go out."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

from pydantic import BaseModel, ValidationError

from drupelet_host.client.connection.address import BrokerAddress
from drupelet_host.client.connection.connection import Connection
from drupelet_host.client.connection.retained import QUIET_S, open_filters, read_retained
from drupelet_host.client.connection.transport import MessageProperties, ReceivedMessage, TransportFactory
from drupelet_host.errors import BrokerError
from drupelet_host.rollout.observation import Observations, ObservedDevice
from drupelet_host.rollout.orders import Activate, Desire, Order, RollBack
from drupelet_shared.contract.commands import ActivateRequest, RollBackRequest
from drupelet_shared.contract.rollouts import SignedRecord
from drupelet_shared.contract.topics import DEFAULT_PREFIX, DeviceTopics, RolloutTopics
from drupelet_shared.contract.wire import JSON_TYPE

Result = TypeVar("Result")

_POLL_S = 0.05
_COMMAND_EXPIRY_S = 60


class RolloutLink:
    """One connection for a whole roll-out, as a context manager; orders are published and never waited for.

    Commands need no answers: their effect is announced in the model's state.
    """

    def __init__(
        self,
        model: str,
        *,
        broker: BrokerAddress,
        prefix: str = DEFAULT_PREFIX,
        connect_timeout_s: float = 10.0,
        transport_factory: TransportFactory = Connection,
    ) -> None:
        """Make a link that is not connected yet.

        Args:
            model: The model that is rolled out.
            broker: The broker's address.
            prefix: The first levels of the topics.
            connect_timeout_s: The limit for connecting to the broker.
            transport_factory: Makes the connection to the broker.

        Raises:
            InvalidValueError: A certificate file cannot be read.
        """
        self._model = model
        self._broker = broker
        self._prefix = prefix
        self._connect_timeout_s = connect_timeout_s
        self._lock = threading.Lock()
        self._observations = Observations(prefix=prefix, model=model)
        self._retained = 0
        self._refusal: str | None = None
        self._unconfirmed = 0
        self._transport = transport_factory(broker, keeps_session=False)
        self._reply_topic = f"{prefix.strip('/')}/clients/{self._transport.client_id}/reply"

    def __enter__(self) -> Self:
        """Connect and subscribe; retained messages arrive from now on.

        Raises:
            BrokerError: The broker cannot be reached or refuses the client.
        """
        filters = self._observations.filters
        open_filters(self._transport, filters, on_message=self._receive, timeout_s=self._connect_timeout_s)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Disconnect."""
        self._transport.close()

    def wait_until_known(self, *, quiet_s: float = QUIET_S) -> None:
        """Wait until no further retained message arrives for `quiet_s`; others never end in a fleet with telemetry."""
        count, quiet_at_s = -1, 0.0
        while count != self._retained or time.monotonic() < quiet_at_s:
            if count != self._retained:
                count, quiet_at_s = self._retained, time.monotonic() + quiet_s
            time.sleep(_POLL_S)

    def refresh(self) -> None:
        """Subscribe again, by which the broker sends everything that it has retained once more.

        A broker drops messages for a client that does not keep up (mosquitto beyond max_queued_messages), as when
        thousands of devices activate a release at the same time; a state that was dropped would never be seen.
        """
        for topic in self._observations.retained_filters:
            self._transport.subscribe(topic)

    def read(self, view: Callable[[Mapping[str, ObservedDevice], float], Result]) -> Result:
        """Return what `view` computes from the devices and the current time of their clock, in seconds."""
        with self._lock:
            return view(self._observations.devices, time.monotonic())

    def send(self, orders: Iterable[Order]) -> None:
        """Publish orders.

        Raises:
            BrokerError: The broker has refused an order, this one or an earlier one.
        """
        for order in orders:
            match order:
                case Desire(device, desired):
                    topic = DeviceTopics(device, prefix=self._prefix).desired(self._model)
                    self._publish(topic, b"" if desired is None else desired.to_bytes(), retain=True)
                case RollBack(device, release):
                    self._command(device, "rollback", RollBackRequest(model=self._model, from_release=release))
                case Activate(device, release):
                    self._command(device, "activate", ActivateRequest(model=self._model, release=release))
        self.check()

    def announce(self, record: SignedRecord) -> None:
        """Publish the record of the roll-out, retained."""
        topic = RolloutTopics(prefix=self._prefix).record(record.record.id)
        self._publish(topic, record.model_dump_json(exclude_none=True).encode(), retain=True)

    def check(self) -> None:
        """Check that the broker has accepted what it has answered so far.

        Raises:
            BrokerError: It has refused a message.
        """
        if self._refusal is not None:
            raise BrokerError(f"broker {self._broker}: {self._refusal}")

    def flush(self, *, timeout_s: float) -> None:
        """Wait until the broker has confirmed everything.

        Raises:
            BrokerError: It has refused a message, or does not confirm all of them within `timeout_s`.
        """
        end_s = time.monotonic() + timeout_s
        while self._unconfirmed and self._refusal is None:
            if time.monotonic() > end_s:
                raise BrokerError(
                    f"broker {self._broker}: has not confirmed {self._unconfirmed} messages within {timeout_s:g} s"
                )
            time.sleep(_POLL_S)
        self.check()

    def _command(self, device: str, name: str, request: BaseModel) -> None:
        properties = MessageProperties(
            response_topic=self._reply_topic,
            correlation_data=secrets.token_bytes(16),
            expiry_s=_COMMAND_EXPIRY_S,
            content_type=JSON_TYPE,
            is_text=True,
        )
        topic = DeviceTopics(device, prefix=self._prefix).command(name)
        self._publish(topic, request.model_dump_json(exclude_none=True).encode(), properties)

    def _publish(
        self, topic: str, payload: bytes, properties: MessageProperties | None = None, *, retain: bool = False
    ) -> None:
        with self._lock:
            self._unconfirmed += 1
        self._transport.publish(
            topic, payload, properties, retain=retain, on_confirmed=partial(self._take_confirmation, topic)
        )

    def _take_confirmation(self, topic: str, refusal: str | None) -> None:
        with self._lock:
            self._unconfirmed -= 1
            if refusal is not None:
                self._refusal = self._refusal or f"refuses a message on {topic}: {refusal}"

    def _receive(self, message: ReceivedMessage) -> None:
        """Take a message on the network thread."""
        with self._lock:
            self._retained += message.is_retained
            self._observations.receive(
                message.topic, message.payload, at_s=time.monotonic(), is_retained=message.is_retained
            )


def read_records(
    broker: BrokerAddress,
    *,
    prefix: str = DEFAULT_PREFIX,
    connect_timeout_s: float = 10.0,
    transport_factory: TransportFactory = Connection,
) -> dict[str, bytes]:
    """Return the payloads of all retained records on a broker, by roll-out.

    Args:
        broker: The broker's address.
        prefix: The first levels of the topics.
        connect_timeout_s: The limit for connecting to the broker.
        transport_factory: Makes the connection to the broker.

    Raises:
        BrokerError: The broker cannot be reached or refuses the client.
    """
    payloads = read_retained(
        [RolloutTopics(prefix=prefix).filter],
        broker=broker,
        timeout_s=connect_timeout_s,
        transport_factory=transport_factory,
    )
    return {topic.rpartition("/")[2]: payload for topic, payload in sorted(payloads.items()) if payload}


def read_record(payload: bytes) -> SignedRecord | None:
    """Return the record in a payload; None if it is malformed."""
    try:
        return SignedRecord.model_validate_json(payload)
    except ValidationError:
        return None
