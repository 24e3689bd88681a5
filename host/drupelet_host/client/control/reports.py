"""What every device has retained on a broker, read at once over one connection."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ValidationError

from drupelet_host.client.connection.address import BrokerAddress
from drupelet_host.client.connection.connection import Connection
from drupelet_host.client.connection.retained import read_retained
from drupelet_host.client.connection.transport import TransportFactory
from drupelet_host.client.control.watching import DeviceReport
from drupelet_shared.contract.delivery import DeliveryState
from drupelet_shared.contract.messages import DeviceStatus, ModelState

_KINDS: Mapping[str, type[BaseModel]] = {"status": DeviceStatus, "state": ModelState, "delivery": DeliveryState}


def read_reports(
    *, broker: BrokerAddress, prefix: str, connect_timeout_s: float, transport_factory: TransportFactory = Connection
) -> dict[str, DeviceReport]:
    """Read what every device has retained.

    Args:
        broker: The broker's address.
        prefix: The first levels of the topics.
        connect_timeout_s: The limit for connecting to the broker.
        transport_factory: Makes the connection to the broker.

    Returns:
        The report of each device that has announced a status, by name.

    Raises:
        BrokerError: The broker cannot be reached or refuses the client.
    """
    base = prefix.strip("/")
    payloads = read_retained(
        [f"{base}/+/status", f"{base}/+/models/+/state", f"{base}/+/models/+/delivery"],
        broker=broker,
        timeout_s=connect_timeout_s,
        transport_factory=transport_factory,
    )
    return _make_reports(base, payloads)


def _make_reports(base: str, payloads: Mapping[str, bytes]) -> dict[str, DeviceReport]:
    statuses: dict[str, DeviceStatus] = {}
    models: dict[str, list[ModelState]] = {}
    deliveries: dict[str, list[DeliveryState]] = {}
    for topic in sorted(payloads):
        device, _, tail = topic.removeprefix(f"{base}/").partition("/")
        try:
            message = _KINDS[tail.rpartition("/")[2]].model_validate_json(payloads[topic])
        except (KeyError, ValidationError):
            # An empty one deletes, and others are of a newer agent or of a client that is no agent.
            continue
        match message:
            case DeviceStatus():
                statuses[device] = message
            case ModelState():
                models.setdefault(device, []).append(message)
            case DeliveryState():
                deliveries.setdefault(device, []).append(message)
    return {
        device: DeviceReport(
            device=device,
            status=statuses[device],
            models=tuple(models.get(device, ())),
            deliveries=tuple(deliveries.get(device, ())),
        )
        for device in statuses
    }
