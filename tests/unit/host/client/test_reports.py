"""What every device has retained, read over one connection."""

from __future__ import annotations

from drupelet_host.client.control.reports import read_reports
from drupelet_shared.contract.delivery import DeliveryState
from drupelet_shared.contract.topics import DeviceTopics
from fakes.mqtt import ADDRESS, FakeBroker
from support.agent.fleets import Announced, birth, model_state


def test_every_device_is_reported_over_one_connection_and_malformed_messages_are_left_out() -> None:
    broker = FakeBroker()
    delivery = DeliveryState(model="digits", state="in_sync")
    for message in (
        *(birth(f"pi-{number}") for number in range(300)),
        model_state("pi-7", "digits"),
        model_state("pi-7", "cats"),
        Announced(DeviceTopics("pi-7").delivery("digits"), delivery.to_bytes()),
        Announced(DeviceTopics("pi-8").model_state("digits"), b"?"),
        model_state("never-there"),
    ):
        broker.publish(message.topic, message.payload, retain=True)
    reports = read_reports(
        broker=ADDRESS, prefix="drupelet/v1", connect_timeout_s=1.0, transport_factory=broker.connect
    )
    assert len(broker.transports) == 1
    assert len(reports) == 300
    assert [state.model for state in reports["pi-7"].models] == ["cats", "digits"]
    assert reports["pi-7"].delivery("digits") == delivery
    assert reports["pi-8"].models == ()
