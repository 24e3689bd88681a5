"""Home Assistant's MQTT discovery: one retained message that describes the device and its sensors.

Source: Home Assistant documentation, MQTT, "Device discovery payload" (2024.11 and newer).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from drupelet_agent import __version__
from drupelet_agent.mqtt.connection import Publication
from drupelet_shared.topics import DeviceTopics

STATUS_TOPIC = "homeassistant/status"
BIRTH = b"online"

_DEVICE_SENSORS: dict[str, dict[str, str]] = {
    "temperature": {
        "name": "Temperature",
        "device_class": "temperature",
        "unit_of_measurement": "°C",
        "value_template": "{{ value_json.temperature_celsius | default(none) }}",
    },
    "cpu": {
        "name": "Processor use",
        "unit_of_measurement": "%",
        "value_template": "{{ value_json.cpu_percent }}",
    },
    "memory": {
        "name": "Memory available",
        "device_class": "data_size",
        "unit_of_measurement": "B",
        "value_template": "{{ value_json.memory_available_bytes }}",
    },
}
_MODEL_SENSORS: dict[str, dict[str, str]] = {
    "latency_p50": {
        "name": "latency p50",
        "device_class": "duration",
        "unit_of_measurement": "ms",
        "value_template": "{{ value_json.total.p50_ms if value_json.total is defined else none }}",
    },
    "latency_p99": {
        "name": "latency p99",
        "device_class": "duration",
        "unit_of_measurement": "ms",
        "value_template": "{{ value_json.total.p99_ms if value_json.total is defined else none }}",
    },
    "requests": {
        "name": "requests",
        "unit_of_measurement": "requests",
        "value_template": "{{ value_json.outcomes.values() | sum }}",
    },
    "errors": {
        "name": "errors",
        "unit_of_measurement": "requests",
        "value_template": "{{ value_json.outcomes.values() | sum - value_json.outcomes.ok | default(0) }}",
    },
}


def discovery(topics: DeviceTopics, *, models: Sequence[str], board: str) -> Publication:
    """The retained message that makes the device and its models' sensors appear.

    Args:
        topics: The device's topics.
        models: The models it serves.
        board: What the device is, as its processor or board calls itself.
    """
    identifier = f"drupelet_{topics.device}"
    components = {
        name: _sensor(identifier, name, topics.device_telemetry, fields) for name, fields in _DEVICE_SENSORS.items()
    }
    for model in models:
        for name, fields in _MODEL_SENSORS.items():
            named = {**fields, "name": f"{model} {fields['name']}"}
            key = f"{model}_{name}"
            components[_object_id(key)] = _sensor(identifier, key, topics.model_telemetry(model), named)
    document = {
        "device": {
            "identifiers": [identifier],
            "name": topics.device,
            "manufacturer": "drupelet",
            "model": board,
            "sw_version": __version__,
        },
        "origin": {"name": "drupelet", "sw_version": __version__},
        "availability": [
            {
                "topic": topics.status,
                "value_template": "{{ value_json.state }}",
                "payload_available": "online",
                "payload_not_available": "offline",
            }
        ],
        "components": components,
    }
    topic = f"homeassistant/device/{_object_id(identifier)}/config"
    return Publication(topic, json.dumps(document).encode(), retain=True)


def _object_id(name: str) -> str:
    """Home Assistant takes letters, digits, '_' and '-'; our names may hold '.' as well."""
    return name.replace(".", "_")


def _sensor(identifier: str, key: str, state_topic: str, fields: dict[str, str]) -> dict[str, Any]:
    return {
        "platform": "sensor",
        "unique_id": f"{identifier}_{key}",
        "state_topic": state_topic,
        "state_class": "measurement",
        **fields,
    }
