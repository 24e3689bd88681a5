"""At every interval: the device's and the models' numbers, and the events in them."""

from __future__ import annotations

import logging
from typing import Protocol

from drupelet_agent.config import AgentConfig
from drupelet_agent.fleet import Fleet
from drupelet_agent.telemetry.device import read_device
from drupelet_agent.telemetry.events import EventDetector
from drupelet_shared.messages import DeviceTelemetry, Event, ModelTelemetry

log = logging.getLogger(__name__)


class Audience(Protocol):
    """Who is told."""

    @property
    def dropped(self) -> int:
        """Messages given up since the start."""

    def model_telemetry(self, telemetry: ModelTelemetry) -> None:
        """Take one model's window."""

    def device_telemetry(self, telemetry: DeviceTelemetry) -> None:
        """Take the device's numbers."""

    def event(self, event: Event) -> None:
        """Take a limit that was crossed."""


class Reporter:
    """Reads, tells, and keeps the latest reading for who asks in between."""

    def __init__(self, config: AgentConfig, fleet: Fleet, audience: Audience) -> None:
        self._config = config
        self._fleet = fleet
        self._audience = audience
        self._detector = EventDetector(config.device, config.telemetry.events)
        self._known: set[str] = set()
        self._latest: DeviceTelemetry | None = None

    def report(self) -> None:
        """End every window and publish it."""
        self._latest = self._read_device()
        self._audience.device_telemetry(self._latest)
        events = self._detector.device(self._latest)
        for model, server in self._fleet.serving.items():
            telemetry = self._fleet.metrics[model].take(server.activation)
            self._audience.model_telemetry(telemetry)
            events += self._detector.model(telemetry)
        for model in self._known - self._fleet.serving.keys():
            self._detector.forget(model)
        self._known = set(self._fleet.serving)
        for event in events:
            level = logging.WARNING if event.state == "raised" else logging.INFO
            log.log(level, "event kind=%s state=%s model=%s: %s", event.kind, event.state, event.model, event.message)
            self._audience.event(event)

    def render_metrics(self) -> str:
        """What Prometheus reads: the device as of the latest interval, the models as of now."""
        from drupelet_agent.telemetry.prometheus import ModelNumbers, render  # noqa: PLC0415 - few agents have it on

        models = [
            ModelNumbers(model=model, ready=server.health == "ready", metrics=self._fleet.metrics[model])
            for model, server in self._fleet.serving.items()
        ]
        return render(self._latest or self._read_device(), models)

    def _read_device(self) -> DeviceTelemetry:
        served = {pid: model for model, server in self._fleet.serving.items() for pid in server.pids}
        return read_device(
            self._config.device,
            workers={pid: served.get(pid) for pid in self._fleet.pids},
            state_dir=self._config.state_dir,
            dropped_messages=self._audience.dropped,
        )
