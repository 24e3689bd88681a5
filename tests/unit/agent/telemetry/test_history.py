"""Points of several windows, and the message that is made of them."""

from __future__ import annotations

from datetime import UTC, datetime

from drupelet_agent.telemetry.history import MAX_POINTS, WINDOWS_PER_POINT, TelemetryRecorder
from drupelet_shared.contract.messages import DeviceTelemetry, ModelTelemetry, TelemetryHistory
from support.agent.fleets import device_window, model_window

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def reading(number: int, *, celsius: float | None = 50.0, memory_used: float = 0.25) -> DeviceTelemetry:
    message = device_window("pi-1", celsius=celsius, uptime_s=100.0 + 10.0 * number, memory_used=memory_used)
    return DeviceTelemetry.model_validate_json(message.payload)


def window(model: str = "digits", *, p50_ms: float = 4.0, **outcomes: int) -> ModelTelemetry:
    return ModelTelemetry.model_validate_json(model_window("pi-1", model, p50_ms=p50_ms, **outcomes).payload)


def played(recorder: TelemetryRecorder, points: int, *models: ModelTelemetry) -> TelemetryHistory:
    message = None
    for number in range(points * WINDOWS_PER_POINT):
        message = recorder.record(reading(number), models, at=NOON) or message
    assert message is not None
    return message


def test_a_point_is_finished_with_its_sixth_window_and_has_their_length() -> None:
    recorder = TelemetryRecorder("pi-1")
    messages = [recorder.record(reading(number), (), at=NOON) for number in range(WINDOWS_PER_POINT)]
    assert messages[:-1] == [None] * (WINDOWS_PER_POINT - 1)
    assert messages[-1] is not None
    assert (messages[-1].point_s, messages[-1].ended_at) == (60.0, NOON)


def test_a_point_has_the_mean_of_medians_by_requests_the_largest_p99_and_all_errors() -> None:
    recorder = TelemetryRecorder("pi-1")
    windows = [window(p50_ms=2.0, ok=30), window(p50_ms=10.0, ok=10), *[window(ok=0)] * 3, window(ok=0, overloaded=10)]
    windows[2:] = [each.model_copy(update={"total": None}) for each in windows[2:]]
    for number, each in enumerate(windows):
        message = recorder.record(reading(number), (each,), at=NOON)
    assert message is not None
    (model,) = message.models
    assert (model.p50_ms, model.p90_ms, model.p99_ms) == ((4.0,), (6.0,), (20.0,))
    assert (model.requests_per_s, model.error_rate) == ((round(50 / 60, 3),), (0.2,))


def test_a_point_without_requests_has_no_percentiles_and_no_errors() -> None:
    quiet = window(ok=0).model_copy(update={"total": None, "outcomes": {}})
    (model,) = played(TelemetryRecorder("pi-1"), 1, quiet).models
    assert (model.requests_per_s, model.error_rate, model.p50_ms, model.p99_ms) == ((0.0,), (0.0,), (None,), (None,))


def test_the_device_has_its_highest_temperature_and_memory_and_none_without_a_sensor() -> None:
    recorder = TelemetryRecorder("pi-1")
    celsius = [50.0, 61.5, 50.0, 50.0, 50.0, 50.0]
    for number, degrees in enumerate(celsius):
        message = recorder.record(reading(number, celsius=degrees, memory_used=number / 10), (), at=NOON)
    assert message is not None
    assert (message.temperature_celsius, message.memory_used, message.cpu_percent) == ((61.5,), (0.5,), (12.5,))
    for number in range(WINDOWS_PER_POINT):
        message = recorder.record(reading(number, celsius=None), (), at=NOON)
    assert message is not None
    assert message.temperature_celsius == (61.5, None)


def test_an_hour_of_points_is_kept_and_a_message_stays_small() -> None:
    models = [window(f"model-{number}") for number in range(4)]
    message = played(TelemetryRecorder("pi-1"), MAX_POINTS + 3, *models)
    assert len(message.cpu_percent) == MAX_POINTS
    assert {len(model.p99_ms) for model in message.models} == {MAX_POINTS}
    assert len(message.to_bytes()) < 12_000


def test_a_model_that_is_no_longer_served_leaves_and_starts_again() -> None:
    recorder = TelemetryRecorder("pi-1")
    played(recorder, 2, window("digits"), window("faces"))
    assert [model.model for model in played(recorder, 1, window("faces")).models] == ["faces"]
    back = played(recorder, 1, window("digits"), window("faces"))
    assert [(model.model, len(model.p99_ms)) for model in back.models] == [("digits", 1), ("faces", 4)]
