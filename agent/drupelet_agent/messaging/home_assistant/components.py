"""The sensors that describe a device and its models to Home Assistant.

Source: Home Assistant documentation, "MQTT Sensor" and "MQTT binary sensor".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from drupelet_agent.messaging.home_assistant.names import escape_name, unique_prefix
from drupelet_shared.contract.topics import DeviceTopics

Component = Mapping[str, object]

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


def device_components(topics: DeviceTopics, *, expire_after_s: int) -> dict[str, Component]:
    """Return the sensors of the device by their key.

    Args:
        topics: The topics of the device.
        expire_after_s: How long a sensor keeps its value without telemetry.
    """
    prefix = unique_prefix(topics.device)
    telemetry = topics.device_telemetry
    sensors = {
        key: _sensor(f"{prefix}_{key}", telemetry, fields, expire_after_s) for key, fields in _DEVICE_SENSORS.items()
    }
    return {
        **sensors,
        "throttled": {
            "platform": "binary_sensor",
            "unique_id": f"{prefix}_throttled",
            "name": "Slowed down by the firmware",
            "device_class": "problem",
            **_DIAGNOSTIC,
            "state_topic": telemetry,
            "expire_after": expire_after_s,
            "value_template": "{{ {true: 'ON', false: 'OFF'}.get(value_json.throttled | default(none)) }}",
        },
        "connection": {
            "platform": "binary_sensor",
            "unique_id": f"{prefix}_connection",
            "name": "Connection",
            "device_class": "connectivity",
            **_DIAGNOSTIC,
            "state_topic": topics.status,
            "value_template": "{{ value_json.state }}",
            "payload_on": "online",
            "payload_off": "offline",
            # It is "off" while the others are unavailable.
            "availability": [],
        },
    }


# The counts by label are attributes, because only the package knows which labels there are.
_DETECTIONS: Component = {
    "name": "detections",
    "unit_of_measurement": "objects",
    "value_template": "{{ value_json.labels.values() | sum if value_json.labels is defined else none }}",
    "json_attributes_template": "{{ value_json.labels | default({}) | tojson }}",
}


def model_components(
    topics: DeviceTopics, models: Sequence[str], *, expire_after_s: int, counts_labels: Callable[[str], bool]
) -> dict[str, Component]:
    """Return the sensors of the models by their key.

    Args:
        topics: The topics of the device.
        models: The models that it serves.
        expire_after_s: How long a sensor keeps its value without telemetry.
        counts_labels: Returns whether the telemetry of a model has counts of labels.

    Returns:
        The sensors.
    """
    prefix = unique_prefix(topics.device)
    components: dict[str, Component] = {}
    for model in models:
        key = escape_name(model)
        counted = {**_DETECTIONS, "json_attributes_topic": topics.model_telemetry(model)}
        for name, fields in {**_MODEL_SENSORS, **({"detections": counted} if counts_labels(model) else {})}.items():
            named = {**fields, "name": f"{model} {fields['name']}"}
            unique_id = f"{prefix}_{model}_{name}"
            components[f"{key}_{name}"] = _sensor(unique_id, topics.model_telemetry(model), named, expire_after_s)
        components[f"{key}_problem"] = {
            "platform": "binary_sensor",
            "unique_id": f"{prefix}_{model}_problem",
            "name": f"{model} problem",
            "device_class": "problem",
            "state_topic": topics.model_state(model),
            "value_template": "{{ 'ON' if value_json.health == 'failed' else 'OFF' }}",
        }
    return components


def _sensor(unique_id: str, state_topic: str, fields: Component, expire_after_s: int) -> Component:
    return {
        "platform": "sensor",
        "unique_id": unique_id,
        "state_topic": state_topic,
        "state_class": "measurement",
        "expire_after": expire_after_s,
        **fields,
    }
