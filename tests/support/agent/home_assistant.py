"""Home Assistant's schema of a device discovery message, as far as sensors and binary sensors go; nothing else passes.

Source: Home Assistant documentation, "MQTT", "MQTT Sensor" and "MQTT binary sensor", and the units and state classes
that "Sensor entity" allows for each device class.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

_UNITS = {
    "temperature": {"°C", "°F", "K"},
    "duration": {"d", "h", "min", "s", "ms"},
    "data_size": {"bit", "B", "kB", "MB", "GB", "KiB", "MiB", "GiB"},
}
Topic = Annotated[str, Field(min_length=1, max_length=65_535)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Device(_Part):
    """Who the entities belong to."""

    identifiers: Annotated[list[str], Field(min_length=1)]
    name: str
    manufacturer: str | None = None
    model: str | None = None
    sw_version: str | None = None


class Origin(_Part):
    """Who publishes."""

    name: str
    sw_version: str | None = None
    support_url: str | None = None


class Availability(_Part):
    """What makes the entities available."""

    topic: Topic
    value_template: str | None = None
    payload_available: str = "online"
    payload_not_available: str = "offline"


class _Entity(_Part):
    unique_id: Annotated[str, Field(min_length=1)]
    name: str
    state_topic: Topic
    value_template: str | None = None
    entity_category: Literal["config", "diagnostic"] | None = None
    expire_after: Annotated[int, Field(gt=0)] | None = None
    availability: list[Availability] | None = None


class Sensor(_Entity):
    """A number."""

    platform: Literal["sensor"]
    device_class: Literal["temperature", "duration", "data_size"] | None = None
    state_class: Literal["measurement", "total", "total_increasing"]
    unit_of_measurement: str
    suggested_display_precision: Annotated[int, Field(ge=0)] | None = None
    json_attributes_topic: Topic | None = None
    json_attributes_template: str | None = None

    @model_validator(mode="after")
    def _unit(self) -> Self:
        if self.device_class is not None and self.unit_of_measurement not in _UNITS[self.device_class]:
            raise ValueError(f"{self.device_class} cannot be in {self.unit_of_measurement}")
        return self


class BinarySensor(_Entity):
    """On or off."""

    platform: Literal["binary_sensor"]
    device_class: Literal["connectivity", "problem"]
    payload_on: str = "ON"
    payload_off: str = "OFF"


class Gone(_Part):
    """A component that is removed again."""

    platform: Literal["sensor", "binary_sensor"]


ObjectId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]


class DeviceDiscovery(_Part):
    """The whole message."""

    device: Device
    origin: Origin
    availability: list[Availability]
    components: dict[ObjectId, Sensor | BinarySensor | Gone]

    def entities(self) -> dict[str, Sensor | BinarySensor]:
        """Return the components that are there."""
        return {key: found for key, found in self.components.items() if not isinstance(found, Gone)}
