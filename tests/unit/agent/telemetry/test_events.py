"""Telemetry against the configured limits."""

from __future__ import annotations

from drupelet_agent.config.telemetry import EventsConfig
from drupelet_agent.telemetry.events import EventDetector
from drupelet_shared.contract.messages import DeviceTelemetry, ModelTelemetry, Percentiles


def device(*, celsius: float | None = 50.0, available_bytes: int = 10**9) -> DeviceTelemetry:
    return DeviceTelemetry(
        device="pi",
        uptime_s=1,
        cpu_percent=1,
        memory_total_bytes=4 * 10**9,
        memory_available_bytes=available_bytes,
        agent_memory_bytes=1,
        workers_memory_bytes=1,
        temperature_celsius=celsius,
    )


def window(outcomes: dict[str, int], *, model: str = "digits", p99_ms: float = 1.0) -> ModelTelemetry:
    total = Percentiles(count=1, p50_ms=1, p90_ms=1, p95_ms=1, p99_ms=p99_ms, max_ms=p99_ms)
    return ModelTelemetry(model=model, version="1", variant="v", window_s=10, outcomes=outcomes, total=total)


def detector(**config: float | None) -> EventDetector:
    return EventDetector("pi", EventsConfig.model_validate({"windows": 1, **config}))


def test_heat_is_an_event_with_its_value_and_limit_and_its_end_is_one_too() -> None:
    watched = detector(temperature_celsius=80)
    (raised,) = watched.device(device(celsius=82.5))
    assert (raised.kind, raised.state, raised.value, raised.limit) == ("temperature", "raised", 82.5, 80)
    assert raised.message == "the processor has 82.5 °C: the limit is 80.0 °C"
    assert watched.device(device(celsius=78)) == []
    (cleared,) = watched.device(device(celsius=75))
    assert cleared.state == "cleared"


def test_memory_that_runs_out_is_an_event() -> None:
    (event,) = detector(memory_available=10**8).device(device(available_bytes=5 * 10**7))
    assert (event.kind, event.state) == ("memory", "raised")
    assert event.message == "50.0 MB of memory are available: the limit is 100.0 MB"


def test_failures_of_the_device_count_and_faults_of_clients_do_not() -> None:
    watched = detector(error_rate=0.1)
    assert watched.model(window({"ok": 80, "invalid_input_shape": 20})) == []
    (event,) = watched.model(window({"ok": 80, "inference_failed": 5, "overloaded": 10, "expired": 5}))
    assert (event.kind, event.model, event.value) == ("error_rate", "digits", 0.2)


def test_a_window_with_few_requests_says_nothing_of_the_error_rate() -> None:
    assert detector(error_rate_requests=10).model(window({"inference_failed": 9})) == []
    assert len(detector(error_rate_requests=10).model(window({"inference_failed": 10}))) == 1


def test_latency_has_no_limit_unless_one_is_set() -> None:
    assert detector().model(window({"ok": 1}, p99_ms=1e6)) == []
    (event,) = detector(latency_p99_ms=50).model(window({"ok": 1}, p99_ms=50.5))
    assert (event.kind, event.value) == ("latency", 50.5)


def test_a_limit_that_is_switched_off_is_never_an_event() -> None:
    assert detector(temperature_celsius=None).device(device(celsius=200)) == []


def test_models_are_watched_apart_and_forgotten_when_they_go() -> None:
    watched = detector(latency_p99_ms=50)
    assert [event.model for event in watched.model(window({}, model="a", p99_ms=60))] == ["a"]
    assert [event.model for event in watched.model(window({}, model="b", p99_ms=60))] == ["b"]
    assert watched.model(window({}, model="a", p99_ms=60)) == []
    watched.forget("a")
    assert [event.state for event in watched.model(window({}, model="a", p99_ms=60))] == ["raised"]
    assert watched.model(window({}, model="b", p99_ms=60)) == []
