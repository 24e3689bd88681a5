"""Inference on one device, and what the device announces of itself."""

from __future__ import annotations

from pydantic import ValidationError

from drupelet_host.client.connection.address import BrokerAddress
from drupelet_host.client.connection.connection import Connection
from drupelet_host.client.connection.presence import explain_absence, read_statuses, status_filter
from drupelet_host.client.connection.retained import RetainedTopics
from drupelet_host.client.connection.transport import TransportFactory
from drupelet_host.client.inference.base import DEFAULT_CONNECT_TIMEOUT_S, InferenceClient
from drupelet_host.errors import RemoteError, ReplyTimeoutError
from drupelet_shared.contract.messages import ModelState
from drupelet_shared.contract.topics import DEFAULT_PREFIX, DeviceTopics


class DeviceClient(InferenceClient):
    """Inference on the models of one device, as a context manager; safe to use from several threads.

    For example::

        with DeviceClient("pi-1", broker=BrokerAddress("broker.local")) as client:
            reply = client.infer("resnet18", {"input": array}, timeout_s=5)
    """

    def __init__(
        self,
        device: str,
        *,
        broker: BrokerAddress,
        prefix: str = DEFAULT_PREFIX,
        connect_timeout_s: float = DEFAULT_CONNECT_TIMEOUT_S,
        transport_factory: TransportFactory = Connection,
    ) -> None:
        """Make a client that is not connected yet.

        Args:
            device: The device's name.
            broker: The broker's address.
            prefix: The first levels of the topics.
            connect_timeout_s: The limit for connecting to the broker.
            transport_factory: Makes the connection to the broker.

        Raises:
            InvalidValueError: The device's name is malformed, or a certificate file cannot be read.
        """
        transport = transport_factory(broker)
        self._topics = DeviceTopics(device, prefix=prefix)
        self._prefix = prefix
        self._retained = RetainedTopics(transport)
        super().__init__(
            target=f"device {device!r}",
            topics=self._topics,
            transport=transport,
            prefix=prefix,
            connect_timeout_s=connect_timeout_s,
            on_other_message=self._retained.receive,
        )

    def check_online(self, *, timeout_s: float = 5.0) -> None:
        """Check from the retained statuses on the broker that the device is online.

        A request to a device that is offline waits at the broker until the device is back or the request expires.

        Args:
            timeout_s: The limit for the whole call; a device that is online is found at once.

        Raises:
            DeviceOfflineError: The device has announced that it is offline, or no device of that name has announced
                itself; the message then names the most similar one.
        """
        payloads = self._retained.read_until(
            status_filter(self._prefix), lambda received: self._topics.status in received, timeout_s=timeout_s
        )
        absence = explain_absence(self._topics.device, read_statuses(payloads), prefix=self._prefix)
        if absence is not None:
            raise absence

    def model_state(self, model: str, *, timeout_s: float = 5.0) -> ModelState:
        """Return what the device runs for a model, from its retained state.

        Args:
            model: The model's name.
            timeout_s: The time to wait for the state.

        Raises:
            ReplyTimeoutError: The device has not announced the model.
            RemoteError: The state is malformed.
        """
        target = f"device {self._topics.device!r}, model {model!r}"
        payload = self._retained.read(self._topics.model_state(model), timeout_s=timeout_s)
        if payload is None:
            raise ReplyTimeoutError(f"{target}: no state announced within {timeout_s:g} s")
        try:
            return ModelState.model_validate_json(payload)
        except ValidationError as error:
            raise RemoteError(f"{target}: malformed state: {error}") from error
