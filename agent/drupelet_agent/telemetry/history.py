"""The latest hour in points of several windows, which the broker keeps for readers that connect later."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime

from drupelet_shared.contract.messages import (
    DeviceTelemetry,
    ModelHistory,
    ModelTelemetry,
    Percentiles,
    TelemetryHistory,
)
from drupelet_shared.contract.wire import OK_CODE

# A minute at the default interval of 10 s, and an hour of them.
WINDOWS_PER_POINT = 6
MAX_POINTS = 60
# Rounded, because a message with every digit would be three times as long.
_DIGITS = 3


class ModelPoints:
    """The points of one model."""

    def __init__(self) -> None:
        """Start without a point."""
        self._windows: list[ModelTelemetry] = []
        self._points: deque[tuple[float, float, float | None, float | None, float | None]] = deque(maxlen=MAX_POINTS)

    def record(self, window: ModelTelemetry) -> None:
        """Add a window to the point that is not finished."""
        self._windows.append(window)

    def end_point(self) -> bool:
        """Finish the point; returns whether the model had a window in it."""
        windows, self._windows = self._windows, []
        if not windows:
            return False
        ended = sum(sum(window.outcomes.values()) for window in windows)
        failed = ended - sum(window.outcomes.get(OK_CODE, 0) for window in windows)
        seconds = max(sum(window.window_s for window in windows), 1e-3)
        totals = [window.total for window in windows if window.total is not None]
        self._points.append(
            (
                round(ended / seconds, _DIGITS),
                round(failed / ended, _DIGITS) if ended else 0.0,
                _weighted(totals, lambda total: total.p50_ms),
                _weighted(totals, lambda total: total.p90_ms),
                max((round(total.p99_ms, _DIGITS) for total in totals), default=None),
            )
        )
        return True

    def to_message(self, model: str) -> ModelHistory:
        """Return the points as the model's part of the message."""
        rates, errors, p50s, p90s, p99s = zip(*self._points, strict=True)
        return ModelHistory(model=model, requests_per_s=rates, error_rate=errors, p50_ms=p50s, p90_ms=p90s, p99_ms=p99s)


class TelemetryRecorder:
    """Collects windows and makes a message of the latest points each time that a point is finished.

    It starts empty with the agent: the broker then keeps what the previous run published until the first point.
    """

    def __init__(self, device: str) -> None:
        """Start without a point.

        Args:
            device: The device's name.
        """
        self._device = device
        self._readings: list[DeviceTelemetry] = []
        self._seconds = 0.0
        self._points: deque[tuple[float, float, float | None]] = deque(maxlen=MAX_POINTS)
        self._models: dict[str, ModelPoints] = {}

    def record(
        self, device: DeviceTelemetry, models: Sequence[ModelTelemetry], *, at: datetime
    ) -> TelemetryHistory | None:
        """Add the windows of one interval.

        Args:
            device: The device's numbers.
            models: The window of each model.
            at: The current time.

        Returns:
            The message if a point is finished; None otherwise.
        """
        if self._readings:
            self._seconds += max(0.0, device.uptime_s - self._readings[-1].uptime_s)
        self._readings.append(device)
        for window in models:
            self._models.setdefault(window.model, ModelPoints()).record(window)
        if len(self._readings) < WINDOWS_PER_POINT:
            return None
        return self._end_point(at)

    def _end_point(self, at: datetime) -> TelemetryHistory:
        readings, self._readings = self._readings, []
        # Between six readings there are five intervals.
        point_s = self._seconds * WINDOWS_PER_POINT / (WINDOWS_PER_POINT - 1)
        self._seconds = 0.0
        celsius = [one.temperature_celsius for one in readings if one.temperature_celsius is not None]
        self._points.append(
            (
                round(sum(one.cpu_percent for one in readings) / len(readings), 1),
                round(max(_memory_used(one) for one in readings), _DIGITS),
                max(celsius, default=None),
            )
        )
        # A model without a window is no longer served; when it is back, its history starts again.
        self._models = {name: points for name, points in self._models.items() if points.end_point()}
        cpu, memory, temperatures = zip(*self._points, strict=True)
        return TelemetryHistory(
            device=self._device,
            ended_at=at.replace(microsecond=0),
            point_s=round(point_s, 1),
            cpu_percent=cpu,
            memory_used=memory,
            temperature_celsius=temperatures,
            models=tuple(points.to_message(name) for name, points in sorted(self._models.items())),
        )


def _weighted(totals: Sequence[Percentiles], read: Callable[[Percentiles], float]) -> float | None:
    count = sum(total.count for total in totals)
    return round(sum(read(total) * total.count for total in totals) / count, _DIGITS) if count else None


def _memory_used(reading: DeviceTelemetry) -> float:
    return 1 - reading.memory_available_bytes / max(1, reading.memory_total_bytes)
