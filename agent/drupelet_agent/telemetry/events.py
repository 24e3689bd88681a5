"""Events: numbers of telemetry that cross their configured limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from drupelet_agent.config.telemetry import EventsConfig
from drupelet_agent.telemetry.thresholds import Threshold, ThresholdState, observe
from drupelet_shared.contract.messages import DeviceTelemetry, Event, ModelTelemetry
from drupelet_shared.errors import ExpiredError, InferenceFailedError, ModelUnavailableError, OverloadedError
from drupelet_shared.units import format_bytes

Kind = Literal["temperature", "memory", "error_rate", "latency"]

# Faults of the device; the other codes are faults of the client.
_DEVICE_FAULTS = {error.code for error in (InferenceFailedError, ModelUnavailableError, OverloadedError, ExpiredError)}
# How far a number must return from its limit before the event is cleared: degrees, or a factor.
_COOLER_CELSIUS = 5.0
_MORE_MEMORY = 1.2
_FEWER_ERRORS = 0.5
_FASTER = 0.8


@dataclass(frozen=True, slots=True)
class _Reading:
    kind: Kind
    value: float | None
    limit: float | None
    clear_at: float
    model: str | None = None


class EventDetector:
    """Finds the events in successive readings; keeps the state of every number with a limit."""

    def __init__(self, device: str, config: EventsConfig) -> None:
        """Create a detector for which every number is within its limit.

        Args:
            device: The device's name.
            config: The limits.
        """
        self._device = device
        self._config = config
        self._states: dict[tuple[Kind, str | None], ThresholdState] = {}

    def device(self, telemetry: DeviceTelemetry) -> list[Event]:
        """Return the events in one reading of the device."""
        config = self._config
        return self._events(
            _Reading(
                "temperature",
                telemetry.temperature_celsius,
                config.temperature_celsius,
                (config.temperature_celsius or 0.0) - _COOLER_CELSIUS,
            ),
            _Reading(
                "memory",
                telemetry.memory_available_bytes,
                config.memory_available,
                (config.memory_available or 0) * _MORE_MEMORY,
            ),
        )

    def model(self, telemetry: ModelTelemetry) -> list[Event]:
        """Return the events in one window of a model."""
        config = self._config
        error_rate = _error_rate(telemetry, min_requests=config.error_rate_requests)
        p99_ms = telemetry.total.p99_ms if telemetry.total else None
        return self._events(
            _Reading(
                "error_rate", error_rate, config.error_rate, (config.error_rate or 0.0) * _FEWER_ERRORS, telemetry.model
            ),
            _Reading(
                "latency", p99_ms, config.latency_p99_ms, (config.latency_p99_ms or 0.0) * _FASTER, telemetry.model
            ),
        )

    def forget(self, model: str) -> None:
        """Drop the state of a model that is no longer served."""
        self._states = {key: state for key, state in self._states.items() if key[1] != model}

    def _events(self, *readings: _Reading) -> list[Event]:
        return [event for reading in readings if (event := self._take(reading)) is not None]

    def _take(self, reading: _Reading) -> Event | None:
        if reading.limit is None:
            return None
        key = (reading.kind, reading.model)
        threshold = Threshold(limit=reading.limit, clear_at=reading.clear_at, windows=self._config.windows)
        self._states[key], change = observe(self._states.get(key, ThresholdState()), reading.value, threshold)
        if change is None or reading.value is None:
            return None
        return Event(
            device=self._device,
            kind=reading.kind,
            state=change,
            value=reading.value,
            limit=reading.limit,
            message=_describe(reading.kind, reading.value, limit=reading.limit),
            model=reading.model,
        )


def _error_rate(telemetry: ModelTelemetry, *, min_requests: int) -> float | None:
    requests = sum(telemetry.outcomes.values())
    if requests < min_requests:
        return None
    return sum(telemetry.outcomes.get(code, 0) for code in _DEVICE_FAULTS) / requests


def _describe(kind: Kind, value: float, *, limit: float) -> str:
    match kind:
        case "temperature":
            return f"the processor has {value:.1f} °C: the limit is {limit:.1f} °C"
        case "memory":
            return f"{format_bytes(int(value))} of memory are available: the limit is {format_bytes(int(limit))}"
        case "error_rate":
            return f"{value:.1%} of the requests failed: the limit is {limit:.1%}"
        case "latency":
            return f"p99 from arrival to reply is {value:.1f} ms: the limit is {limit:.1f} ms"
