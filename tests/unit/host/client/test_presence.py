from __future__ import annotations

import pytest

from drupelet_host.client.connection.presence import explain_absence, read_statuses, status_filter
from drupelet_shared.contract.messages import DeviceStatus
from support.agent.fleets import birth

PREFIX = "drupelet/v1"


def statuses(**states: str) -> dict[str, DeviceStatus]:
    announced = (birth(device.replace("_", "-"), state=state) for device, state in states.items())
    return read_statuses({message.topic: message.payload for message in announced})


def explain(device: str, **states: str) -> str:
    return str(explain_absence(device, statuses(**states), prefix=PREFIX))


def test_a_device_that_is_online_is_not_absent() -> None:
    assert explain_absence("pi-7", statuses(pi_7="online"), prefix=PREFIX) is None


def test_a_device_that_is_offline_is_named() -> None:
    assert "device 'pi-7' says that it is offline" in explain("pi-7", pi_7="offline", pi_8="online")


def test_a_misspelt_name_is_answered_with_the_nearest_one() -> None:
    assert explain("pi-8", pi_7="online", camera="online") == (
        "device 'pi-8' has not announced itself: did you mean 'pi-7'? It is online"
    )


def test_a_name_like_no_other_is_answered_with_those_that_are_online() -> None:
    many = {f"door{number}": "online" for number in range(7)}
    assert "online are door0, door1, door2, door3, door4 and 2 more" in explain("pi-7", **many, gone="offline")
    assert "none of the 1 devices under 'drupelet/v1' is online" in explain("pi-7", door="offline")


def test_a_broker_without_devices_is_answered_with_what_to_check() -> None:
    text = explain("pi-7")
    assert "no device has announced itself under 'drupelet/v1'" in text
    assert "drupelet/v1/+/status" in text


@pytest.mark.parametrize("payload", [b"", b"{}", b"offline"])
def test_a_message_that_is_no_status_is_left_out(payload: bytes) -> None:
    message = birth("pi-7")
    assert read_statuses({"drupelet/v1/pi-8/status": payload, "drupelet/v1/other/status": message.payload}) == {}


def test_the_filter_stands_under_the_prefix() -> None:
    assert status_filter("/site/a/") == "site/a/+/status"
