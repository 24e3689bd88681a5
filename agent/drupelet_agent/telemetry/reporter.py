"""Telemetry at each interval: the numbers of device and models, and the events in them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Protocol

from drupelet_agent.config.agent import AgentConfig
from drupelet_agent.store.records import Activation
from drupelet_agent.telemetry.device_numbers import read_device
from drupelet_agent.telemetry.durations import Durations
from drupelet_agent.telemetry.events import EventDetector
from drupelet_agent.telemetry.history import TelemetryRecorder
from drupelet_shared.contract.messages import DeviceTelemetry, Event, ModelTelemetry, TelemetryHistory

log = logging.getLogger(__name__)


class TelemetryAudience(Protocol):
    """Publishes telemetry and events."""

    @property
    def dropped(self) -> int:
        """Messages dropped since the start."""

    def model_telemetry(self, telemetry: ModelTelemetry) -> None:
        """Publish one model's window."""

    def device_telemetry(self, telemetry: DeviceTelemetry) -> None:
        """Publish the device's numbers."""

    def telemetry_history(self, history: TelemetryHistory) -> None:
        """Publish the latest points, which the broker keeps."""

    def event(self, event: Event) -> None:
        """Publish that a limit was crossed."""


class ReportedMetrics(Protocol):
    """The numbers of one model."""

    @property
    def totals(self) -> Mapping[str, int]:
        """Requests by outcome since the start."""

    @property
    def durations(self) -> Mapping[str, Durations]:
        """Durations by stage since the start."""

    def end_window(self, activation: Activation) -> ModelTelemetry:
        """Return the window that ends now, and start the next one."""


class ReportedServer(Protocol):
    """The server of one model."""

    @property
    def activation(self) -> Activation:
        """The release that it serves."""

    @property
    def health(self) -> str:
        """Its state; "ready" while its workers can answer."""

    @property
    def pids(self) -> Sequence[int]:
        """The process ids of its workers."""


class ReportedSlot(Protocol):
    """One active model."""

    @property
    def current(self) -> ReportedServer:
        """The server that takes the model's requests."""

    @property
    def metrics(self) -> ReportedMetrics:
        """The model's numbers."""


class ReportedModels(Protocol):
    """All models of the device."""

    @property
    def slots(self) -> Mapping[str, ReportedSlot]:
        """The slot of each active model, by name."""

    @property
    def pids(self) -> Sequence[int]:
        """The process ids of all workers."""


class Reporter:
    """Publishes the numbers of device and models, and the events in them; keeps the latest reading for scrapes."""

    def __init__(
        self,
        config: AgentConfig,
        models: ReportedModels,
        audience: TelemetryAudience,
        *,
        read_time: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Create a reporter that has read nothing.

        Args:
            config: The agent's configuration.
            models: The models of the device.
            audience: Publishes telemetry and events.
            read_time: Returns the current time.
        """
        self._read_time = read_time
        self._recorder = TelemetryRecorder(config.device)
        self._config = config
        self._models = models
        self._audience = audience
        self._detector = EventDetector(config.device, config.telemetry.events)
        self._reported: set[str] = set()
        self._latest: DeviceTelemetry | None = None

    def report(self) -> None:
        """End every window and publish it."""
        self._latest = self._read_device()
        self._audience.device_telemetry(self._latest)
        events = self._detector.device(self._latest)
        slots = self._models.slots
        windows = [slot.metrics.end_window(slot.current.activation) for slot in slots.values()]
        for window in windows:
            self._audience.model_telemetry(window)
            events += self._detector.model(window)
        history = self._recorder.record(self._latest, windows, at=self._read_time())
        if history is not None:
            self._audience.telemetry_history(history)
        for model in self._reported - slots.keys():
            self._detector.forget(model)
        self._reported = set(slots)
        for event in events:
            level = logging.WARNING if event.state == "raised" else logging.INFO
            log.log(level, "event kind=%s state=%s model=%s: %s", event.kind, event.state, event.model, event.message)
            self._audience.event(event)

    def render_metrics(self) -> str:
        """Return the metrics for Prometheus: the device as of the latest interval, the models as of now."""
        from drupelet_agent.telemetry.prometheus import ModelNumbers, render  # noqa: PLC0415 - few agents have it on

        numbers = [
            ModelNumbers(model=model, ready=slot.current.health == "ready", metrics=slot.metrics)
            for model, slot in self._models.slots.items()
        ]
        return render(self._latest or self._read_device(), numbers)

    def _read_device(self) -> DeviceTelemetry:
        served = {pid: model for model, slot in self._models.slots.items() for pid in slot.current.pids}
        return read_device(
            self._config.device,
            workers={pid: served.get(pid) for pid in self._models.pids},
            state_dir=self._config.state_dir,
            dropped_messages=self._audience.dropped,
        )
