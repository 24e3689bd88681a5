"""Home Assistant's MQTT discovery: one retained message that describes the device and its sensors.

Source: Home Assistant documentation, "MQTT", "Device discovery payload" (2024.11 and newer).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence

from drupelet_agent import __version__
from drupelet_agent.messaging.home_assistant.components import device_components, model_components
from drupelet_agent.messaging.home_assistant.names import escape_name
from drupelet_agent.mqtt.message import Message, Publication
from drupelet_shared.contract.topics import DeviceTopics

_BIRTH_TOPIC = "homeassistant/status"
_BIRTH_PAYLOAD = b"online"
# A sensor is unavailable after this many intervals without a message: some may be lost, as they have QoS 0.
_EXPIRY_INTERVALS = 4


class Discovery:
    """Describes one device, and removes the sensors that it described before and that are gone."""

    def __init__(
        self,
        topics: DeviceTopics,
        *,
        board: str,
        interval_s: float,
        counts_labels: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """Create a description without models.

        Args:
            topics: The topics of the device.
            board: The name of the device's processor or board.
            interval_s: Seconds between two telemetry messages.
            counts_labels: Returns whether the telemetry of a model has counts of labels.
        """
        self._counts_labels = counts_labels
        self._topics = topics
        self._board = board
        self._expire_after_s = max(1, math.ceil(interval_s * _EXPIRY_INTERVALS))
        # The platform of each component that Home Assistant may know from an earlier description.
        self._platforms: dict[str, str] = {}

    def describe(self, models: Sequence[str]) -> Publication:
        """Return the retained message that shows the sensors of the device and these models, and removes all others."""
        expire_after_s = self._expire_after_s
        components = {
            **device_components(self._topics, expire_after_s=expire_after_s),
            **model_components(self._topics, models, expire_after_s=expire_after_s, counts_labels=self._counts_labels),
        }
        # A component that has nothing but a platform is removed.
        removed = {key: {"platform": name} for key, name in self._platforms.items() if key not in components}
        self._platforms.update({key: str(component["platform"]) for key, component in components.items()})
        document = {
            "device": {
                "identifiers": [f"drupelet_{self._topics.device}"],
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
            "components": {**components, **removed},
        }
        topic = f"homeassistant/device/drupelet_{escape_name(self._topics.device)}/config"
        return Publication(topic, json.dumps(document).encode(), retain=True)


class BirthHandler:
    """Handles Home Assistant's birth message: at its start it has forgotten everything that is not retained."""

    filters = (_BIRTH_TOPIC,)

    def __init__(self, on_birth: Callable[[], None]) -> None:
        """Create a handler.

        Args:
            on_birth: Announces the device again.
        """
        self._on_birth = on_birth

    def handle(self, message: Message) -> None:
        """Announce the device again if Home Assistant has started."""
        if message.payload == _BIRTH_PAYLOAD:
            self._on_birth()
