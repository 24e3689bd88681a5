"""Desired states of devices: set, and followed until a device runs what is desired."""

from __future__ import annotations

from drupelet_host.client.connection.address import BrokerAddress
from drupelet_host.client.connection.connection import Connection
from drupelet_host.client.connection.transport import TransportFactory
from drupelet_host.client.control.control import ControlClient
from drupelet_host.client.control.watching import DeviceReport, DeviceWatch
from drupelet_host.errors import RemoteError, ReplyTimeoutError
from drupelet_shared.contract.delivery import DeliveryState, DesiredState


def set_desired(
    control: ControlClient, device: str, model: str, desired: DesiredState | None, *, timeout_s: float
) -> None:
    """Set the desired state of a model on a device.

    Args:
        control: A connected client.
        device: The device's name.
        model: The model's name.
        desired: The package that the device is to run; None deletes the desired state.
        timeout_s: The time to wait for the broker.

    Raises:
        BrokerError: The broker refuses the message, or does not accept it within `timeout_s`.
    """
    payload = desired.to_bytes() if desired is not None else b""
    control.retain(control.topics(device).desired(model), payload, timeout_s=timeout_s)


def deploy(
    control: ControlClient, device: str, model: str, desired: DesiredState, *, watch: DeviceWatch, timeout_s: float
) -> DeliveryState:
    """Set the desired state of a model on a device and wait until the device runs it.

    Args:
        control: A connected client.
        device: The device's name.
        model: The model's name.
        desired: The package that the device is to run.
        watch: An entered watch of the same device.
        timeout_s: The time to wait for the broker, and then for the device.

    Returns:
        The delivery state "in_sync".

    Raises:
        BrokerError: The broker refuses the message, or does not accept it in time.
        RemoteError: The device failed; `device_code` holds its error code, and the device may try again.
        ReplyTimeoutError: The device does not run the package within `timeout_s`.
    """

    def has_ended(report: DeviceReport) -> bool:
        delivery = report.delivery(model)
        # A retained delivery state may be about an earlier attempt.
        return delivery is not None and watch.has_update_of(model) and delivery.state in {"in_sync", "failed"}

    set_desired(control, device, model, desired, timeout_s=timeout_s)
    report = watch.wait_for(has_ended, timeout_s=timeout_s)
    last = (report or watch.read_retained()).delivery(model)
    if report is None or last is None:
        state = last.state if last is not None else "the device has announced nothing of it"
        raise ReplyTimeoutError(f"device {device!r}, model {model!r}: not in sync within {timeout_s:g} s: {state}")
    if last.state == "failed":
        raise RemoteError(f"device {device!r}, model {model!r}: {last.code}: {last.error}", device_code=last.code)
    return last


def read_report(
    device: str,
    *,
    broker: BrokerAddress,
    prefix: str,
    connect_timeout_s: float,
    transport_factory: TransportFactory = Connection,
) -> DeviceReport:
    """Return what a device has retained on the broker.

    Args:
        device: The device's name.
        broker: The broker's address.
        prefix: The first levels of the topics.
        connect_timeout_s: The limit for connecting to the broker.
        transport_factory: Makes the connection to the broker.

    Returns:
        The device's status, models and deliveries.

    Raises:
        BrokerError: The broker cannot be reached or refuses the client.
        DeviceOfflineError: No device of that name has announced itself; the message names the most similar one.
    """
    watch = DeviceWatch(
        device,
        broker=broker,
        prefix=prefix,
        connect_timeout_s=connect_timeout_s,
        transport_factory=transport_factory,
    )
    with watch:
        report = watch.read_retained()
        if report.status is None and not report.models and not report.deliveries:
            watch.raise_unknown_device()
        return report
