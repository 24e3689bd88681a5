"""Identifiers for Home Assistant: distinct for distinct names, and the same for ever."""

from __future__ import annotations

import itertools

import pytest

from drupelet_agent.messaging.home_assistant.components import device_components, model_components
from drupelet_agent.messaging.home_assistant.names import escape_name, unique_prefix
from drupelet_shared.contract.topics import DeviceTopics


@pytest.mark.parametrize(
    ("name", "escaped"), [("cam", "cam"), ("cam_1", "cam_1"), ("cam.1", "cam_1_66498bf0"), ("pi.7", "pi_7_62e2a7c2")]
)
def test_a_dot_becomes_an_underscore_and_a_suffix(name: str, escaped: str) -> None:
    assert escape_name(name) == escaped


def count_none(_: str) -> bool:
    return False


def test_only_a_device_whose_name_has_an_underscore_needs_a_suffix() -> None:
    assert unique_prefix("cam") == "drupelet_cam"
    assert unique_prefix("cam_agent").startswith("drupelet_cam_agent_")


def test_names_that_differ_in_dots_and_underscores_stay_distinct() -> None:
    names = ["cam", "cam.1", "cam_1", "cam.1.a", "cam_1.a", "cam.1_a", "cam-1"]
    assert len({escape_name(name) for name in names}) == len(names)
    assert len({unique_prefix(name) for name in names}) == len(names)


def test_sensors_of_devices_whose_names_start_alike_share_no_id() -> None:
    ids = [
        [part["unique_id"] for part in device_components(DeviceTopics(device), expire_after_s=5).values()]
        + [
            part["unique_id"]
            for part in model_components(
                DeviceTopics(device), ["m"], expire_after_s=5, counts_labels=count_none
            ).values()
        ]
        for device in ("cam", "cam_agent", "cam.agent", "cam_m")
    ]
    flat = list(itertools.chain(*ids))
    assert len(set(flat)) == len(flat)


def test_a_model_has_latencies_counts_and_a_problem_sensor_of_its_own_topic() -> None:
    topics = DeviceTopics("cam")
    components = model_components(topics, ["digits"], expire_after_s=5, counts_labels=count_none)
    assert set(components) == {
        f"digits_{sensor}" for sensor in ("latency_p50", "latency_p99", "requests", "errors", "problem")
    }
    assert components["digits_problem"]["state_topic"] == topics.model_state("digits")
    assert components["digits_requests"]["state_topic"] == topics.model_telemetry("digits")
    assert components["digits_requests"]["name"] == "digits requests"


def test_a_device_without_models_has_no_model_sensors() -> None:
    assert model_components(DeviceTopics("cam"), [], expire_after_s=5, counts_labels=count_none) == {}
