"""Desired states: said, and followed until the device is there."""

from __future__ import annotations

from drupelet_host.client.connection.address import BrokerAddress
from drupelet_host.client.control.control import ControlClient
from drupelet_host.client.control.watching import DeviceReport, DeviceWatch
from drupelet_host.errors import RemoteError, ReplyTimeoutError
from drupelet_shared.contract.delivery import DeliveryState, DesiredState


def set_desired(
    control: ControlClient, device: str, model: str, desired: DesiredState | None, *, timeout_s: float
) -> None:
    """Say what a device is to run of a model; None desires nothing any more.

    Raises:
        BrokerError: The broker refuses, or does not take it in time.
    """
    payload = desired.to_bytes() if desired is not None else b""
    control.retain(control.topics(device).desired(model), payload, timeout_s=timeout_s)


def deploy(
    control: ControlClient, device: str, model: str, desired: DesiredState, *, watch: DeviceWatch, timeout_s: float
) -> DeliveryState:
    """Say what a device is to run, and wait until it does.

    Args:
        control: A connected client.
        device: The device.
        model: The model.
        desired: What is to run.
        watch: The same device, watched already.
        timeout_s: How long to wait.

    Raises:
        RemoteError: The device failed; `device_code` says how, and it may try again by itself.
        ReplyTimeoutError: It is not there in time.
    """

    def is_settled(report: DeviceReport) -> bool:
        delivery = report.delivery(model)
        # What is retained may be about an earlier try.
        return delivery is not None and watch.has_news_of(model) and delivery.state in {"in_sync", "failed"}

    set_desired(control, device, model, desired, timeout_s=timeout_s)
    report = watch.wait_for(is_settled, timeout_s=timeout_s)
    last = (report or watch.settled()).delivery(model)
    if report is None or last is None:
        state = last.state if last is not None else "nothing was heard of it"
        raise ReplyTimeoutError(f"device {device!r}, model {model!r}: not in sync within {timeout_s:g} s: {state}")
    if last.state == "failed":
        raise RemoteError(f"device {device!r}, model {model!r}: {last.code}: {last.error}", device_code=last.code)
    return last


def read_report(device: str, *, broker: BrokerAddress, prefix: str, connect_timeout_s: float) -> DeviceReport:
    """What a device has retained on the broker."""
    with DeviceWatch(device, broker=broker, prefix=prefix, connect_timeout_s=connect_timeout_s) as watch:
        return watch.settled()
