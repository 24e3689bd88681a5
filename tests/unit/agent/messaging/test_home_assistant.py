"""The discovery message, against Home Assistant's own schema."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from jinja2 import Environment, StrictUndefined

from drupelet_agent.messaging.home_assistant.discovery import BirthHandler, Discovery
from drupelet_agent.mqtt.message import Message
from drupelet_shared.contract.topics import DeviceTopics
from support.agent.home_assistant import DeviceDiscovery, Gone, Sensor

TOPICS = DeviceTopics("pi.7")


def describe(discovery: Discovery, models: Sequence[str]) -> DeviceDiscovery:
    publication = discovery.describe(models)
    assert publication.retain
    assert publication.topic == "homeassistant/device/drupelet_pi_7_62e2a7c2/config"
    return DeviceDiscovery.model_validate_json(publication.payload)


@pytest.fixture
def discovery() -> Discovery:
    return Discovery(TOPICS, board="Raspberry Pi 4", interval_s=10)


def test_every_sensor_is_valid_and_has_a_name_and_an_identity_of_its_own(discovery: Discovery) -> None:
    found = describe(discovery, ["digits", "faces.v2"])
    entities = found.entities()
    assert len({entity.unique_id for entity in entities.values()}) == len(entities)
    assert len({entity.name for entity in entities.values()}) == len(entities)
    assert {"temperature", "memory", "connection", "digits_latency_p50", "digits_latency_p99"} <= entities.keys()
    assert {"digits_requests", "digits_errors", "digits_problem", "faces_v2_133e9745_latency_p99"} <= entities.keys()
    assert found.device.model == "Raspberry Pi 4"


def test_counts_of_labels_are_a_sensor_of_the_models_that_are_configured_so() -> None:
    counting = Discovery(TOPICS, board="x", interval_s=10, counts_labels=lambda model: model == "shapes")
    entities = describe(counting, ["shapes", "digits"]).entities()
    assert "digits_detections" not in entities
    sensor = entities["shapes_detections"]
    assert isinstance(sensor, Sensor)
    assert sensor.json_attributes_topic == sensor.state_topic == TOPICS.model_telemetry("shapes")
    telemetry = {"labels": {"circle": 3, "square": 1}}
    environment = Environment(undefined=StrictUndefined, autoescape=False)
    value = environment.from_string(sensor.value_template or "")
    attributes = environment.from_string(sensor.json_attributes_template or "")
    assert value.render(value_json=telemetry) == "4"
    assert json.loads(attributes.render(value_json=telemetry)) == telemetry["labels"]
    assert (value.render(value_json={}), attributes.render(value_json={})) == ("None", "{}")


def test_numbers_expire_when_telemetry_stops_and_retained_states_do_not(discovery: Discovery) -> None:
    for key, entity in describe(discovery, ["digits"]).entities().items():
        is_telemetry = "/telemetry/" in entity.state_topic
        assert entity.expire_after == (40 if is_telemetry else None), key


def test_a_short_interval_still_leaves_a_whole_second() -> None:
    entities = describe(Discovery(TOPICS, board="x", interval_s=0.1), []).entities()
    assert entities["temperature"].expire_after == 1


def test_a_lost_device_makes_its_sensors_unavailable_and_its_connection_off(discovery: Discovery) -> None:
    found = describe(discovery, [])
    assert [(item.topic, item.payload_not_available) for item in found.availability] == [(TOPICS.status, "offline")]
    connection = found.entities()["connection"]
    assert connection.availability == []
    assert connection.state_topic == TOPICS.status


def test_the_sensors_of_a_model_that_is_removed_are_taken_back(discovery: Discovery) -> None:
    before = describe(discovery, ["digits"])
    after = describe(discovery, [])
    gone = {key for key, component in after.components.items() if isinstance(component, Gone)}
    assert gone == {key for key in before.components if key.startswith("digits_")}
    assert all(before.components[key].platform == after.components[key].platform for key in gone)
    assert {
        key for key, found in describe(discovery, ["digits"]).components.items() if isinstance(found, Gone)
    } == set()


def keys_and_ids(device: str, models: Sequence[str]) -> tuple[str, set[str], set[str]]:
    publication = Discovery(DeviceTopics(device), board="x", interval_s=10).describe(models)
    entities = DeviceDiscovery.model_validate_json(publication.payload).entities()
    return publication.topic, set(entities), {entity.unique_id for entity in entities.values()}


@pytest.mark.parametrize(("one", "other"), [("cam.1", "cam_1"), ("cam", "cam_agent"), ("a.b.c", "a_b.c")])
def test_devices_whose_names_escape_alike_share_neither_topic_nor_unique_id(one: str, other: str) -> None:
    models = ["m", "agent"]
    first, second = keys_and_ids(one, models), keys_and_ids(other, models)
    assert first[0] != second[0]
    assert not first[2] & second[2]


def test_models_whose_names_escape_alike_have_sensors_of_their_own() -> None:
    _, keys, unique_ids = keys_and_ids("cam", ["v1.2", "v1_2"])
    _, without, _ = keys_and_ids("cam", [])
    assert len(keys) == len(unique_ids) == len(without) + 2 * 5


def test_a_name_without_a_dot_keeps_its_discovery_topic() -> None:
    assert keys_and_ids("pi-7", [])[0] == "homeassistant/device/drupelet_pi-7/config"


@pytest.mark.parametrize(("payload", "announced"), [(b"online", 1), (b"offline", 0)])
def test_the_device_is_announced_again_when_home_assistant_starts(payload: bytes, announced: int) -> None:
    births: list[bool] = []
    handler = BirthHandler(lambda: births.append(True))
    assert handler.filters == ("homeassistant/status",)
    handler.handle(Message("homeassistant/status", payload))
    assert len(births) == announced
