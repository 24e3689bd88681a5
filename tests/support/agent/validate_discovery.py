"""Checks a device discovery message with Home Assistant's own schemas; run by an interpreter that has Home Assistant.

Reads the message from standard input and prints each fault as a line. It imports nothing of this project.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import voluptuous  # type: ignore[import-not-found] # of the other environment, as the next three
from homeassistant.components.mqtt import binary_sensor, sensor  # type: ignore[import-not-found]
from homeassistant.components.mqtt.schemas import (  # type: ignore[import-not-found]
    DEVICE_DISCOVERY_SCHEMA,
    SHARED_OPTIONS,
)
from homeassistant.const import __version__  # type: ignore[import-not-found]

PLATFORMS = {"sensor": sensor.DISCOVERY_SCHEMA, "binary_sensor": binary_sensor.DISCOVERY_SCHEMA}


def faults_of(document: dict[str, Any]) -> list[str]:
    """Return what Home Assistant would refuse, in the way it takes a message apart itself."""
    found = []
    try:
        DEVICE_DISCOVERY_SCHEMA(document)
    except voluptuous.Invalid as error:
        found.append(f"device: {error}")
    shared = {key: document[key] for key in SHARED_OPTIONS if key in document}
    for key, component in document["components"].items():
        # One that has a platform alone is removed.
        if set(component) == {"platform"}:
            continue
        entity = {**shared, **component, "device": document["device"], "origin": document["origin"]}
        try:
            PLATFORMS[component["platform"]](entity)
        except voluptuous.Invalid as error:
            found.append(f"{key}: {error}")
    return found


if __name__ == "__main__":
    sys.stdout.write("\n".join([f"Home Assistant {__version__}", *faults_of(json.load(sys.stdin))]) + "\n")
