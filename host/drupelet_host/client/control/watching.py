"""What a device has retained on the broker: its status, its models, and how far it is with the desired states."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import NoReturn, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from drupelet_host.client.connection.address import BrokerAddress
from drupelet_host.client.connection.connection import Connection
from drupelet_host.client.connection.presence import explain_absence, read_statuses, status_filter
from drupelet_host.client.connection.retained import QUIET_S, RetainedTopics, open_filters
from drupelet_host.client.connection.transport import ReceivedMessage, TransportFactory
from drupelet_host.errors import DeviceOfflineError
from drupelet_shared.contract.delivery import DeliveryState
from drupelet_shared.contract.messages import DeviceStatus, ModelState
from drupelet_shared.contract.topics import DEFAULT_PREFIX, DeviceTopics


class DeviceReport(BaseModel):
    """What a device has announced.

    Attributes:
        device: The device's name.
        status: The birth message or will; absent if the device has announced none.
        models: The states of its models, by name.
        deliveries: How far it is with each desired state, by model name.
    """

    model_config = ConfigDict(frozen=True)

    device: str
    status: DeviceStatus | None = None
    models: tuple[ModelState, ...] = ()
    deliveries: tuple[DeliveryState, ...] = ()

    def delivery(self, model: str) -> DeliveryState | None:
        """Return how far the device is with a model's desired state."""
        return next((delivery for delivery in self.deliveries if delivery.model == model), None)


class DeviceWatch:
    """Follows what one device announces, from the moment the context is entered."""

    def __init__(
        self,
        device: str,
        *,
        broker: BrokerAddress,
        prefix: str = DEFAULT_PREFIX,
        connect_timeout_s: float = 10.0,
        transport_factory: TransportFactory = Connection,
    ) -> None:
        """Make a watch that is not connected yet.

        Args:
            device: The device's name.
            broker: The broker's address.
            prefix: The first levels of the topics.
            connect_timeout_s: The limit for connecting to the broker.
            transport_factory: Makes the connection to the broker.

        Raises:
            InvalidValueError: The device's name is malformed, or a certificate file cannot be read.
        """
        self._topics = DeviceTopics(device, prefix=prefix)
        self._prefix = prefix
        self._connect_timeout_s = connect_timeout_s
        self._changed = threading.Condition()
        self._received_at_s = 0.0
        self._status: DeviceStatus | None = None
        self._models: dict[str, ModelState] = {}
        self._deliveries: dict[str, DeliveryState] = {}
        self._updated: set[str] = set()
        self._transport = transport_factory(broker, keeps_session=False)
        self._retained = RetainedTopics(self._transport)

    def __enter__(self) -> Self:
        """Connect and subscribe.

        Raises:
            BrokerError: The broker cannot be reached or refuses the client.
        """
        self._received_at_s = time.monotonic()
        filters = (self._topics.status, self._topics.model_state("+"), self._topics.delivery("+"))
        open_filters(self._transport, filters, on_message=self._receive, timeout_s=self._connect_timeout_s)
        self._received_at_s = time.monotonic()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Disconnect."""
        self._transport.close()

    def read_retained(self) -> DeviceReport:
        """Return what the device has retained, once no further message arrives."""
        with self._changed:
            while (left_s := self._received_at_s + QUIET_S - time.monotonic()) > 0:
                self._changed.wait(left_s)
            return self._report()

    def wait_for(self, condition: Callable[[DeviceReport], bool], *, timeout_s: float) -> DeviceReport | None:
        """Return the first report that meets a condition; None if there is none within `timeout_s`."""
        with self._changed:
            if self._changed.wait_for(lambda: condition(self._report()), timeout_s):
                return self._report()
            return None

    def has_update_of(self, model: str) -> bool:
        """Tell whether the device has announced a model's delivery state since the context was entered."""
        return model in self._updated

    def raise_unknown_device(self) -> NoReturn:
        """Raise the error for a device that has announced nothing.

        Raises:
            DeviceOfflineError: Always; the message names the most similar device on the broker.
        """
        payloads = self._retained.read_until(status_filter(self._prefix), lambda _: False, timeout_s=2 * QUIET_S)
        device = self._topics.device
        absence = explain_absence(device, read_statuses(payloads), prefix=self._prefix)
        raise absence or DeviceOfflineError(f"device {device!r} has announced nothing")

    def _report(self) -> DeviceReport:
        models = tuple(self._models[name] for name in sorted(self._models))
        deliveries = tuple(self._deliveries[name] for name in sorted(self._deliveries))
        return DeviceReport(device=self._topics.device, status=self._status, models=models, deliveries=deliveries)

    def _receive(self, message: ReceivedMessage) -> None:
        """Take a message on the network thread."""
        self._retained.receive(message)
        with self._changed:
            self._received_at_s = time.monotonic()
            try:
                self._apply(message)
            except ValidationError:
                # A message of a newer agent, or of a client that is no agent.
                return
            finally:
                self._changed.notify_all()

    def _apply(self, message: ReceivedMessage) -> None:
        topic, payload = message.topic, message.payload
        if topic == self._topics.status:
            self._status = DeviceStatus.model_validate_json(payload)
        elif not topic.startswith(f"{self._topics.base}/"):
            return
        elif topic.endswith("/state"):
            state = ModelState.model_validate_json(payload)
            self._models[state.model] = state
        elif payload:
            delivery = DeliveryState.model_validate_json(payload)
            self._deliveries[delivery.model] = delivery
            if not message.is_retained:
                self._updated.add(delivery.model)
        else:
            self._deliveries = {
                name: delivery for name, delivery in self._deliveries.items() if self._topics.delivery(name) != topic
            }
