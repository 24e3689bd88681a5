"""The boards of a recipe are looked for before any work."""

from __future__ import annotations

import pytest

from drupelet_host.compiler.latency_sources.boards import check_boards
from drupelet_host.errors import BrokerError, DeviceOfflineError, LatencyError
from drupelet_host.recipe.latency import BoardsSection
from drupelet_shared.contract.messages import DeviceStatus
from drupelet_shared.contract.topics import DeviceTopics
from fakes.mqtt import ADDRESS, FakeBroker


@pytest.fixture
def broker() -> FakeBroker:
    return FakeBroker()


def announce(broker: FakeBroker, device: str, **values: object) -> None:
    status = DeviceStatus.model_validate(
        {"state": "online", "device": device, "session": "1", "agent_version": "0.2.0", **values}
    )
    broker.publish(DeviceTopics(device).status, status.to_bytes(), retain=True)


def check(broker: FakeBroker, *devices: str) -> None:
    check_boards(BoardsSection(devices=devices), broker=ADDRESS, transport_factory=broker.connect)


def test_boards_that_are_online_and_measure_are_accepted(broker: FakeBroker) -> None:
    announce(broker, "pi-7", measures=True)
    announce(broker, "older")
    check(broker, "pi-7", "older")


def test_every_board_that_is_missing_is_named(broker: FakeBroker) -> None:
    announce(broker, "pi-7", measures=True)
    announce(broker, "asleep", state="offline")
    with pytest.raises(DeviceOfflineError, match=r"'pi-8' has not.*did you mean 'pi-7'.*'asleep' says that it is off"):
        check(broker, "pi-7", "pi-8", "asleep")


def test_a_board_that_does_not_allow_measuring_is_an_error_that_says_what_to_set(broker: FakeBroker) -> None:
    announce(broker, "pi-7", measures=True)
    announce(broker, "pi-8", measures=False)
    with pytest.raises(LatencyError, match=r"target\.boards: pi-8 measures no candidates: set trust\.measure = true"):
        check(broker, "pi-7", "pi-8")


def test_a_broker_that_refuses_is_an_error_before_any_work(broker: FakeBroker) -> None:
    broker.refusal = "not authorized"
    with pytest.raises(BrokerError, match="not authorized"):
        check(broker, "pi-7")
