"""Home Assistant's MQTT discovery: one retained message that describes the device and its sensors.

Source: Home Assistant documentation, MQTT, "Device discovery payload" (2024.11 and newer).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence

from drupelet_agent import __version__
from drupelet_agent.mqtt.message import Publication
from drupelet_shared.contract.topics import DeviceTopics

_BIRTH_TOPIC = "homeassistant/status"
_BIRTH = b"online"

Component = Mapping[str, object]

# A sensor is unavailable after this many intervals without a message: some may be lost, as they have QoS 0.
_EXPIRY_INTERVALS = 4
_DIAGNOSTIC = {"entity_category": "diagnostic"}
_BYTES = {"device_class": "data_size", "unit_of_measurement": "B", "suggested_display_precision": 0}
_MILLISECONDS = {"device_class": "duration", "unit_of_measurement": "ms", "suggested_display_precision": 1}
_DEVICE_SENSORS: dict[str, Component] = {
    "temperature": {
        "name": "Temperature",
        "device_class": "temperature",
        "unit_of_measurement": "°C",
        "value_template": "{{ value_json.temperature_celsius | default(none) }}",
    },
    "cpu": {"name": "Processor use", "unit_of_measurement": "%", "value_template": "{{ value_json.cpu_percent }}"},
    "memory": {
        "name": "Memory available",
        **_BYTES,
        "value_template": "{{ value_json.memory_available_bytes }}",
    },
    "agent_memory": {
        "name": "Memory of agent and models",
        **_BYTES,
        **_DIAGNOSTIC,
        "value_template": "{{ value_json.agent_memory_bytes + value_json.workers_memory_bytes }}",
    },
    "disk": {
        "name": "Disk free",
        **_BYTES,
        **_DIAGNOSTIC,
        "value_template": "{{ value_json.disk_free_bytes | default(none) }}",
    },
}
_MODEL_SENSORS: dict[str, Component] = {
    "latency_p50": {
        "name": "latency p50",
        **_MILLISECONDS,
        "value_template": "{{ value_json.total.p50_ms if value_json.total is defined else none }}",
    },
    "latency_p99": {
        "name": "latency p99",
        **_MILLISECONDS,
        "value_template": "{{ value_json.total.p99_ms if value_json.total is defined else none }}",
    },
    "requests": {
        "name": "requests",
        "state_class": "total_increasing",
        "unit_of_measurement": "requests",
        "value_template": "{{ value_json.totals.values() | sum }}",
    },
    "errors": {
        "name": "errors",
        "state_class": "total_increasing",
        "unit_of_measurement": "requests",
        "value_template": "{{ value_json.totals.values() | sum - value_json.totals.ok | default(0) }}",
    },
}


class Discovery:
    """Describes one device, and takes back what it has described before and is no longer there."""

    birth_topic = _BIRTH_TOPIC

    def __init__(self, topics: DeviceTopics, *, board: str, interval_s: float) -> None:
        """Describe nothing yet.

        Args:
            topics: The device's topics.
            board: What the device is, as its processor or board calls itself.
            interval_s: How often telemetry is published.
        """
        self._topics = topics
        self._board = board
        self._expire_after_s = max(1, math.ceil(interval_s * _EXPIRY_INTERVALS))
        self._identifier = f"drupelet_{topics.device}"
        # The platform of each component that Home Assistant may know from us.
        self._described: dict[str, str] = {}

    @staticmethod
    def is_birth(topic: str, payload: bytes | bytearray) -> bool:
        """Whether a message says that Home Assistant has started, and so has forgotten everything not retained."""
        return topic == _BIRTH_TOPIC and payload == _BIRTH

    def describe(self, models: Sequence[str]) -> Publication:
        """The retained message that makes the device and its models' sensors appear, and those of other models vanish.

        Args:
            models: The models it serves.
        """
        components = {**self._device_components(), **self._model_components(models)}
        # A component that has its platform alone is removed.
        gone = {key: {"platform": name} for key, name in self._described.items() if key not in components}
        self._described.update({key: str(component["platform"]) for key, component in components.items()})
        document = {
            "device": {
                "identifiers": [self._identifier],
                "name": self._topics.device,
                "manufacturer": "drupelet",
                "model": self._board,
                "sw_version": __version__,
            },
            "origin": {"name": "drupelet", "sw_version": __version__},
            "availability": [
                {
                    "topic": self._topics.status,
                    "value_template": "{{ value_json.state }}",
                    "payload_available": "online",
                    "payload_not_available": "offline",
                }
            ],
            "components": {**components, **gone},
        }
        topic = f"homeassistant/device/{_object_id(self._identifier)}/config"
        return Publication(topic, json.dumps(document).encode(), retain=True)

    def _device_components(self) -> dict[str, Component]:
        telemetry = self._topics.device_telemetry
        sensors = {key: self._sensor(key, telemetry, fields) for key, fields in _DEVICE_SENSORS.items()}
        return {
            **sensors,
            "throttled": {
                "platform": "binary_sensor",
                "unique_id": f"{self._identifier}_throttled",
                "name": "Slowed down by the firmware",
                "device_class": "problem",
                **_DIAGNOSTIC,
                "state_topic": telemetry,
                "expire_after": self._expire_after_s,
                "value_template": "{{ {true: 'ON', false: 'OFF'}.get(value_json.throttled | default(none)) }}",
            },
            "connection": {
                "platform": "binary_sensor",
                "unique_id": f"{self._identifier}_connection",
                "name": "Connection",
                "device_class": "connectivity",
                **_DIAGNOSTIC,
                "state_topic": self._topics.status,
                "value_template": "{{ value_json.state }}",
                "payload_on": "online",
                "payload_off": "offline",
                # It says "off" where the others are unavailable.
                "availability": [],
            },
        }

    def _model_components(self, models: Sequence[str]) -> dict[str, Component]:
        components: dict[str, Component] = {}
        for model in models:
            for name, fields in _MODEL_SENSORS.items():
                key = f"{model}_{name}"
                named = {**fields, "name": f"{model} {fields['name']}"}
                components[_object_id(key)] = self._sensor(key, self._topics.model_telemetry(model), named)
            key = f"{model}_problem"
            components[_object_id(key)] = {
                "platform": "binary_sensor",
                "unique_id": f"{self._identifier}_{key}",
                "name": f"{model} problem",
                "device_class": "problem",
                "state_topic": self._topics.model_state(model),
                "value_template": "{{ 'ON' if value_json.health == 'failed' else 'OFF' }}",
            }
        return components

    def _sensor(self, key: str, state_topic: str, fields: Component) -> Component:
        return {
            "platform": "sensor",
            "unique_id": f"{self._identifier}_{key}",
            "state_topic": state_topic,
            "state_class": "measurement",
            "expire_after": self._expire_after_s,
            **fields,
        }


def _object_id(name: str) -> str:
    """Home Assistant takes letters, digits, '_' and '-'; our names may hold '.' as well."""
    return name.replace(".", "_")
