"""Home Assistant's MQTT discovery, as a Home Assistant on the same broker would meet it."""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jinja2 import Environment, StrictUndefined
from paho.mqtt import client as paho

from drupelet_agent.messaging.home_assistant.names import escape_name
from drupelet_shared.contract.topics import DeviceTopics
from support.agent.agents import listener, run_agent_command, running_agent, write_config
from support.agent.asking import asker
from support.agent.home_assistant import DeviceDiscovery
from support.broker.brokers import Broker
from support.broker.subscriber import subscriber
from support.package.served_packages import make_keys, make_package

# A Python that has `homeassistant` 2024.11 or newer and what its MQTT integration imports: half a gigabyte, so opt-in.
HOME_ASSISTANT = os.environ.get("DRUPELET_HOME_ASSISTANT")
VALIDATE = Path(__file__).parents[2] / "support/agent/home_assistant_schema.py"
REQUEST = json.dumps(
    {"inputs": [{"name": "image", "shape": [1, 1, 8, 8], "datatype": "FP32", "data": [0.5] * 64}]}
).encode()


@pytest.fixture
def topics() -> DeviceTopics:
    return DeviceTopics(f"pi.{uuid.uuid4().hex[:8]}")


@pytest.fixture
def config(tmp_path: Path, broker: Broker, topics: DeviceTopics) -> Path:
    path = write_config(tmp_path, broker, device=topics.device, extra="home_assistant = true", interval_s=2)
    keys = make_keys(tmp_path)
    shutil.copy(keys.public, tmp_path / "trust")
    run_agent_command(path, "install", str(make_package(tmp_path, keys)))
    return path


@pytest.fixture
def discovered(broker: Broker) -> Iterator[queue.Queue[paho.MQTTMessage]]:
    """What arrives under Home Assistant's discovery prefix."""
    messages: queue.Queue[paho.MQTTMessage] = queue.Queue()
    with subscriber(broker, "homeassistant/device/#", messages.put):
        yield messages


def next_of(messages: queue.Queue[paho.MQTTMessage], device: str) -> tuple[str, dict[str, Any]]:
    while True:
        message = messages.get(timeout=20)
        document = json.loads(message.payload)
        if document["device"]["name"] == device:
            return message.topic, document


def test_device_and_sensors_are_described_by_the_topics_they_report_on(
    broker: Broker, topics: DeviceTopics, config: Path, discovered: queue.Queue[paho.MQTTMessage]
) -> None:
    with listener(broker, device=topics.device) as heard, running_agent(config), asker(broker) as ask:
        state = heard.wait_for(topics.model_state("digits"), health="ready")
        for payload in (REQUEST, b"hello"):
            ask.ask(topics.infer("digits"), payload)
        topic, document = next_of(discovered, topics.device)
        while "digits_latency_p50" not in document["components"]:
            topic, document = next_of(discovered, topics.device)
        payloads = {path: heard.wait_for(path) for path in (topics.device_telemetry, topics.status)}
        telemetry = heard.wait_for(topics.model_telemetry("digits"), outcomes={"ok": 1, "invalid_request": 1})
    payloads |= {topics.model_telemetry("digits"): telemetry, topics.model_state("digits"): state}
    # Only letters, digits, '_' and '-' may stand in a discovery topic.
    assert topic == f"homeassistant/device/drupelet_{escape_name(topics.device)}/config"
    (availability,) = document["availability"]
    assert availability["topic"] == topics.status
    templates = Environment(autoescape=False, undefined=StrictUndefined)
    shown = {}
    for key, entity in DeviceDiscovery.model_validate(document).entities().items():
        assert entity.state_topic in payloads, key
        # The template reads what the agent really published.
        assert entity.value_template is not None
        shown[key] = templates.from_string(entity.value_template).render(value_json=payloads[entity.state_topic])
    assert shown["connection"] == "online"
    assert shown["digits_problem"] == "OFF"
    assert (shown["digits_requests"], shown["digits_errors"]) == ("2", "1")
    assert float(shown["digits_latency_p99"]) >= float(shown["digits_latency_p50"]) > 0
    assert int(shown["memory"]) > 0
    assert shown["throttled"] in {"ON", "OFF", "None"}


@pytest.mark.skipif(HOME_ASSISTANT is None, reason="DRUPELET_HOME_ASSISTANT names no Python with Home Assistant")
@pytest.mark.timeout(600)
def test_home_assistants_own_schema_takes_the_description_and_refuses_a_broken_one(
    broker: Broker, topics: DeviceTopics, config: Path, discovered: queue.Queue[paho.MQTTMessage]
) -> None:
    with listener(broker, device=topics.device) as heard, running_agent(config):
        heard.wait_for(topics.model_state("digits"), health="ready")
        _, document = next_of(discovered, topics.device)
        while "digits_latency_p50" not in document["components"]:
            _, document = next_of(discovered, topics.device)

    accepted = validate(document)
    document["components"]["digits_latency_p50"]["device_class"] = "speed of thought"
    refused = validate(document)

    assert (accepted.returncode, accepted.stdout) == (0, f"{len(document['components'])}\n"), accepted.stderr
    assert refused.returncode != 0
    assert "data['device_class']" in refused.stderr


def validate(document: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """Validate a message in Home Assistant's environment."""
    assert HOME_ASSISTANT is not None
    command = [HOME_ASSISTANT, str(VALIDATE)]
    return subprocess.run(
        command, input=json.dumps(document), capture_output=True, text=True, check=False, timeout=280, env={}
    )


def test_everything_is_announced_again_when_home_assistant_starts(
    broker: Broker, topics: DeviceTopics, config: Path, discovered: queue.Queue[paho.MQTTMessage]
) -> None:
    with listener(broker, device=topics.device) as heard, running_agent(config):
        heard.wait_for(topics.model_state("digits"), health="ready")
        next_of(discovered, topics.device)
        while not heard.messages.empty() or not discovered.empty():
            heard.messages.queue.clear()
            discovered.queue.clear()
        heard.latest.clear()
        heard.client.publish("homeassistant/status", "online", qos=1)
        next_of(discovered, topics.device)
        heard.wait_for(topics.status, state="online")
        heard.wait_for(topics.model_state("digits"), health="ready")
