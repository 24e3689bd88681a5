"""What a device has retained on the broker: its status, its models, and how far they are with what is desired."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from paho.mqtt.client import MQTTMessage
from pydantic import BaseModel, ConfigDict, ValidationError

from drupelet_host.client.connection.address import BrokerAddress
from drupelet_host.client.connection.connection import Connection
from drupelet_shared.contract.delivery import DeliveryState
from drupelet_shared.contract.messages import DeviceStatus, ModelState
from drupelet_shared.contract.topics import DEFAULT_PREFIX, DeviceTopics

# Retained messages come in one go: a pause this long is their end.
QUIET_S = 1.0


class DeviceReport(BaseModel):
    """What a device says of itself; `status` is absent where it has never been heard of."""

    model_config = ConfigDict(frozen=True)

    device: str
    status: DeviceStatus | None = None
    models: tuple[ModelState, ...] = ()
    deliveries: tuple[DeliveryState, ...] = ()

    def delivery(self, model: str) -> DeliveryState | None:
        """How far a model is with what is desired of it."""
        return next((delivery for delivery in self.deliveries if delivery.model == model), None)


class DeviceWatch:
    """One device, watched from when the context is entered."""

    def __init__(
        self, device: str, *, broker: BrokerAddress, prefix: str = DEFAULT_PREFIX, connect_timeout_s: float = 10.0
    ) -> None:
        self._topics = DeviceTopics(device, prefix=prefix)
        self._connect_timeout_s = connect_timeout_s
        self._changed = threading.Condition()
        self._heard_s = 0.0
        self._status: DeviceStatus | None = None
        self._models: dict[str, ModelState] = {}
        self._deliveries: dict[str, DeliveryState] = {}
        self._told_now: set[str] = set()
        self._connection = Connection(broker, on_message=self._received, keeps_session=False)

    def __enter__(self) -> Self:
        """Connect and subscribe.

        Raises:
            BrokerError: The broker cannot be reached or refuses.
        """
        self._connection.open(self._topics.status, timeout_s=self._connect_timeout_s)
        self._connection.subscribe(self._topics.model_state("+"))
        self._connection.subscribe(self._topics.delivery("+"))
        self._heard_s = time.monotonic()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Disconnect."""
        self._connection.close()

    def settled(self) -> DeviceReport:
        """What the device had retained, once nothing more of it comes."""
        with self._changed:
            while (left_s := self._heard_s + QUIET_S - time.monotonic()) > 0:
                self._changed.wait(left_s)
            return self._report()

    def wait_for(self, is_reached: Callable[[DeviceReport], bool], *, timeout_s: float) -> DeviceReport | None:
        """The first report for which something is reached; None if it is not in time."""
        with self._changed:
            if self._changed.wait_for(lambda: is_reached(self._report()), timeout_s):
                return self._report()
            return None

    def has_news_of(self, model: str) -> bool:
        """Whether the device has said how far a model is since the context was entered, beside what was retained."""
        return model in self._told_now

    def _report(self) -> DeviceReport:
        models = tuple(self._models[name] for name in sorted(self._models))
        deliveries = tuple(self._deliveries[name] for name in sorted(self._deliveries))
        return DeviceReport(device=self._topics.device, status=self._status, models=models, deliveries=deliveries)

    def _received(self, message: MQTTMessage) -> None:
        """Runs on the network thread."""
        payload = bytes(message.payload)
        with self._changed:
            self._heard_s = time.monotonic()
            try:
                self._take(message.topic, payload, is_news=not message.retain)
            except ValidationError:
                # What another version says, or somebody else.
                return
            finally:
                self._changed.notify_all()

    def _take(self, topic: str, payload: bytes, *, is_news: bool) -> None:
        if topic == self._topics.status:
            self._status = DeviceStatus.model_validate_json(payload)
        elif topic.endswith("/state"):
            state = ModelState.model_validate_json(payload)
            self._models[state.model] = state
        elif payload:
            delivery = DeliveryState.model_validate_json(payload)
            self._deliveries[delivery.model] = delivery
            if is_news:
                self._told_now.add(delivery.model)
        else:
            self._deliveries = {
                name: delivery for name, delivery in self._deliveries.items() if self._topics.delivery(name) != topic
            }
