"""What is reported at each interval, with models and an audience of the test's own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from drupelet_agent.config.agent import AgentConfig
from drupelet_agent.serving.job import Outcome, StageTimes
from drupelet_agent.serving.metrics import ModelMetrics
from drupelet_agent.store.records import Activation
from drupelet_agent.telemetry.device_numbers import read_device
from drupelet_agent.telemetry.durations import BOUNDS_S, Durations
from drupelet_agent.telemetry.reporter import Reporter
from drupelet_shared.contract.messages import DeviceTelemetry, Event, ModelTelemetry, TelemetryHistory
from support.agent.values import make_activation

TIMES = StageTimes(queue_ms=1, decode_ms=2, inference_ms=3, encode_ms=4, total_ms=10)


@dataclass
class Audience:
    """Keeps what is published."""

    dropped: int = 0
    models: list[ModelTelemetry] = field(default_factory=list)
    devices: list[DeviceTelemetry] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    histories: list[TelemetryHistory] = field(default_factory=list)

    def model_telemetry(self, telemetry: ModelTelemetry) -> None:
        self.models.append(telemetry)

    def device_telemetry(self, telemetry: DeviceTelemetry) -> None:
        self.devices.append(telemetry)

    def telemetry_history(self, history: TelemetryHistory) -> None:
        self.histories.append(history)

    def event(self, event: Event) -> None:
        self.events.append(event)


@dataclass
class Server:
    activation: Activation
    health: str = "ready"
    pids: list[int] = field(default_factory=lambda: [os.getpid()])


@dataclass
class Slot:
    current: Server
    metrics: ModelMetrics = field(default_factory=ModelMetrics)


@dataclass
class Models:
    slots: dict[str, Slot] = field(default_factory=dict)

    @property
    def pids(self) -> list[int]:
        return [pid for slot in self.slots.values() for pid in slot.current.pids]


def slot(model: str) -> Slot:
    return Slot(Server(make_activation(model=model)))


def reporter(models: Models, audience: Audience, tmp_path: Path, **events: object) -> Reporter:
    limits: Mapping[str, object] = {"temperature_celsius": None, "memory_available": None, "windows": 1, **events}
    config = AgentConfig.model_validate(
        {"device": "pi-1", "state_dir": str(tmp_path), "telemetry": {"events": dict(limits)}}
    )
    return Reporter(config, models, audience)


def test_each_interval_has_the_device_and_the_window_of_each_model(tmp_path: Path) -> None:
    models, audience = Models({"digits": slot("digits")}), Audience(dropped=4)
    reporting = reporter(models, audience, tmp_path)
    for _ in range(3):
        models.slots["digits"].metrics.record(Outcome(code="ok", payload=b"", times=TIMES))
    reporting.report()
    reporting.report()
    assert [window.outcomes for window in audience.models] == [{"ok": 3}, {}]
    assert [window.totals for window in audience.models] == [{"ok": 3}, {"ok": 3}]
    assert [device.dropped_messages for device in audience.devices] == [4, 4]
    assert [worker.model for worker in audience.devices[0].workers] == ["digits"]


def test_every_sixth_interval_publishes_the_history(tmp_path: Path) -> None:
    models, audience = Models({"digits": slot("digits")}), Audience()
    reporting = reporter(models, audience, tmp_path)
    for _ in range(13):
        models.slots["digits"].metrics.record(Outcome(code="ok", payload=b"", times=TIMES))
        reporting.report()
    assert [len(history.cpu_percent) for history in audience.histories] == [1, 2]
    (model,) = audience.histories[-1].models
    assert (model.model, model.p50_ms) == ("digits", (10.0, 10.0))


def test_an_event_is_published_once_when_raised_and_once_when_cleared(tmp_path: Path) -> None:
    models, audience = Models({"digits": slot("digits")}), Audience()
    reporting = reporter(models, audience, tmp_path, error_rate=0.5, error_rate_requests=1)
    metrics = models.slots["digits"].metrics
    for code in ("inference_failed", "inference_failed", "ok", "ok"):
        metrics.record(Outcome(code=code, payload=b""))
        reporting.report()
    assert [(event.kind, event.state) for event in audience.events] == [
        ("error_rate", "raised"),
        ("error_rate", "cleared"),
    ]


def test_a_model_that_was_removed_raises_anew_when_it_is_back(tmp_path: Path) -> None:
    models, audience = Models({"digits": slot("digits")}), Audience()
    reporting = reporter(models, audience, tmp_path, error_rate=0.5, error_rate_requests=1)
    for _ in range(2):
        back = slot("digits")
        back.metrics.record(Outcome(code="inference_failed", payload=b""))
        models.slots = {"digits": back}
        reporting.report()
        models.slots = {}
        reporting.report()
    assert [event.state for event in audience.events if event.kind == "error_rate"].count("raised") == 2


def test_a_scrape_between_intervals_has_the_models_as_of_now(tmp_path: Path) -> None:
    models = Models({"digits": slot("digits")})
    reporting = reporter(models, Audience(), tmp_path)
    models.slots["digits"].metrics.record(Outcome(code="ok", payload=b"", times=TIMES))
    text = reporting.render_metrics()
    assert 'drupelet_requests_total{model="digits",code="ok"} 1' in text
    assert 'drupelet_model_ready{model="digits"} 1' in text


def test_durations_are_counted_up_to_and_including_each_bound() -> None:
    durations = Durations()
    for seconds in (BOUNDS_S[0], BOUNDS_S[0] + 1e-9, 100.0):
        durations.record(seconds)
    counts = dict(durations.cumulative())
    assert counts[BOUNDS_S[0]] == 1
    assert counts[BOUNDS_S[1]] == 2
    assert counts[BOUNDS_S[-1]] == 2
    assert counts[float("inf")] == 3
    assert durations.sum_s == sum((BOUNDS_S[0], BOUNDS_S[0] + 1e-9, 100.0))


def test_the_devices_numbers_leave_out_what_cannot_be_read(tmp_path: Path) -> None:
    numbers = read_device("pi-1", workers={os.getpid(): None}, state_dir=tmp_path / "gone", dropped_messages=0)
    assert numbers.disk_free_bytes is None
    assert numbers.workers[0].resident_bytes > 0
    assert numbers.workers_memory_bytes == numbers.workers[0].resident_bytes
