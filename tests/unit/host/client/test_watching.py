from __future__ import annotations

import threading

import pytest

from drupelet_host.client.control.control import ControlClient
from drupelet_host.client.control.deployment import deploy, read_report, set_desired
from drupelet_host.client.control.watching import DeviceWatch
from drupelet_host.errors import BrokerError, DeviceOfflineError, RemoteError, ReplyTimeoutError
from drupelet_shared.contract.delivery import DeliveryState, DesiredState
from drupelet_shared.contract.topics import DeviceTopics
from fakes.mqtt import ADDRESS, FakeBroker
from support.agent.fleets import Announced, birth, model_state

TOPICS = DeviceTopics("pi-7")
DESIRED = DesiredState(version="1.0.0", source="https://models.example/digits.drupe")


def announce(broker: FakeBroker, *messages: Announced) -> None:
    for message in messages:
        broker.publish(message.topic, message.payload, retain=True)


def delivery(state: str, **values: str) -> Announced:
    message = DeliveryState.model_validate({"model": "digits", "state": state, **values})
    return Announced(TOPICS.delivery("digits"), message.to_bytes())


def watch(broker: FakeBroker, device: str = "pi-7") -> DeviceWatch:
    return DeviceWatch(device, broker=ADDRESS, transport_factory=broker.connect)


def report(broker: FakeBroker, device: str = "pi-7") -> object:
    return read_report(
        device, broker=ADDRESS, prefix="drupelet/v1", connect_timeout_s=1.0, transport_factory=broker.connect
    )


def test_a_report_holds_status_models_and_deliveries_by_name() -> None:
    broker = FakeBroker()
    announce(broker, birth("pi-7"), model_state("pi-7", "digits"), model_state("pi-7", "cats"), delivery("in_sync"))
    announce(broker, birth("pi-8"), model_state("pi-8", "dogs"))
    with watch(broker) as watched:
        read = watched.read_retained()
    assert read.status is not None
    assert read.status.state == "online"
    assert [model.model for model in read.models] == ["cats", "digits"]
    assert read.delivery("digits") == read.deliveries[0]
    assert read.delivery("cats") is None


def test_malformed_messages_are_left_out() -> None:
    broker = FakeBroker()
    announce(broker, birth("pi-7"), Announced(TOPICS.model_state("digits"), b"?"), delivery("in_sync"))
    announce(broker, Announced(TOPICS.delivery("cats"), b"[]"))
    with watch(broker) as watched:
        read = watched.read_retained()
    assert (read.models, len(read.deliveries)) == ((), 1)


def test_a_delivery_that_is_deleted_is_gone_from_the_report() -> None:
    broker = FakeBroker()
    announce(broker, birth("pi-7"), delivery("in_sync"))
    with watch(broker) as watched:
        assert watched.wait_for(lambda read: read.deliveries != (), timeout_s=5) is not None
        announce(broker, Announced(TOPICS.delivery("digits"), b""))
        assert watched.wait_for(lambda read: read.deliveries == (), timeout_s=5) is not None


def test_only_what_is_announced_after_entry_is_an_update() -> None:
    broker = FakeBroker()
    announce(broker, delivery("in_sync"))
    with watch(broker) as watched:
        watched.read_retained()
        assert not watched.has_update_of("digits")
        announce(broker, delivery("waiting"))
        assert watched.wait_for(lambda _: watched.has_update_of("digits"), timeout_s=5) is not None


def test_a_condition_that_is_not_met_in_time_gives_none() -> None:
    with watch(FakeBroker()) as watched:
        assert watched.wait_for(lambda read: read.status is not None, timeout_s=0.05) is None


def test_the_report_of_a_device_that_nobody_knows_is_an_error_with_the_nearest_name() -> None:
    broker = FakeBroker()
    announce(broker, birth("pi-7"))
    with pytest.raises(DeviceOfflineError, match="'pi-8' has not announced itself: did you mean 'pi-7'"):
        report(broker, "pi-8")


def test_the_report_of_a_device_that_is_offline_is_no_error() -> None:
    broker = FakeBroker()
    announce(broker, birth("pi-7", state="offline"))
    assert report(broker).status.state == "offline"


def control(broker: FakeBroker) -> ControlClient:
    return ControlClient(broker=ADDRESS, transport_factory=broker.connect)


def test_a_desired_state_is_retained_and_none_deletes_it() -> None:
    broker = FakeBroker()
    with control(broker) as client:
        set_desired(client, "pi-7", "digits", DESIRED, timeout_s=5)
        (kept,) = broker.retained(TOPICS.desired("digits"))
        assert DesiredState.model_validate_json(kept.payload) == DESIRED
        set_desired(client, "pi-7", "digits", None, timeout_s=5)
        assert broker.retained(TOPICS.desired("digits")) == []


def test_a_desired_state_that_the_broker_refuses_is_an_error() -> None:
    broker = FakeBroker()
    broker.refused = lambda _: "Not authorized"
    with control(broker) as client, pytest.raises(BrokerError, match="the broker refuses the message: Not authorized"):
        set_desired(client, "pi-7", "digits", DESIRED, timeout_s=5)


def deploy_with(broker: FakeBroker, *answers: Announced, timeout_s: float = 5) -> DeliveryState:
    broker.serve(
        TOPICS.desired("digits"), lambda *_: threading.Thread(target=announce, args=(broker, *answers)).start()
    )
    with control(broker) as client, watch(broker) as watched:
        return deploy(client, "pi-7", "digits", DESIRED, watch=watched, timeout_s=timeout_s)


def test_a_deployment_ends_when_the_device_is_in_sync() -> None:
    assert deploy_with(FakeBroker(), delivery("fetching"), delivery("in_sync")).state == "in_sync"


def test_a_deployment_that_fails_is_an_error_with_the_devices_code() -> None:
    failed = delivery("failed", code="fetch_failed", error="no such file")
    with pytest.raises(RemoteError, match="fetch_failed: no such file") as caught:
        deploy_with(FakeBroker(), failed)
    assert caught.value.device_code == "fetch_failed"


def test_a_retained_delivery_of_an_earlier_attempt_does_not_end_a_deployment() -> None:
    broker = FakeBroker()
    announce(broker, delivery("in_sync"))
    with pytest.raises(ReplyTimeoutError, match=r"not in sync within 0\.2 s"):
        deploy_with(broker, timeout_s=0.2)
