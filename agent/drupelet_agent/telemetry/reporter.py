"""At every interval: the device's and the models' numbers, and the events in them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Protocol

from drupelet_agent.config.sections import AgentConfig
from drupelet_agent.store.records import Activation
from drupelet_agent.telemetry.device_numbers import read_device
from drupelet_agent.telemetry.durations import Durations
from drupelet_agent.telemetry.events import EventDetector
from drupelet_shared.contract.messages import DeviceTelemetry, Event, ModelTelemetry

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


class ReportedMetrics(Protocol):
    """One model's numbers."""

    @property
    def totals(self) -> Mapping[str, int]:
        """Requests by outcome since the start."""

    @property
    def durations(self) -> Mapping[str, Durations]:
        """Durations by stage since the start."""

    def take(self, activation: Activation) -> ModelTelemetry:
        """End the window and start the next one."""


class ReportedServer(Protocol):
    """One served model."""

    @property
    def activation(self) -> Activation:
        """What it serves."""

    @property
    def health(self) -> str:
        """Its state; "ready" while its workers can answer."""

    @property
    def pids(self) -> Sequence[int]:
        """The process ids of its workers."""


class ReportedModels(Protocol):
    """All models of the device."""

    @property
    def serving(self) -> Mapping[str, ReportedServer]:
        """The server of each model."""

    @property
    def metrics(self) -> Mapping[str, ReportedMetrics]:
        """The numbers of each model."""

    @property
    def pids(self) -> Sequence[int]:
        """The process ids of all workers."""


class Reporter:
    """Reads, tells, and keeps the latest reading for who asks in between."""

    def __init__(self, config: AgentConfig, fleet: ReportedModels, audience: Audience) -> None:
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
