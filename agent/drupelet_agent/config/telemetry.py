"""The configuration of telemetry, events and the log."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from drupelet_agent.config.section import Section
from drupelet_shared.units import ByteSize


class EventsConfig(Section):
    """The limits beyond which an event is published.

    Attributes:
        temperature_celsius: The highest temperature of the processor.
        memory_available: The smallest available memory.
        error_rate: The highest share of the requests of a window that failed on the device.
        error_rate_requests: The smallest number of requests of a window for which this share is judged.
        latency_p99_ms: The highest p99 from arrival to reply; by default latency raises no event.
        windows: The number of consecutive windows that raise or clear an event.
    """

    temperature_celsius: Annotated[float, Field(gt=0)] | None = 80.0
    memory_available: ByteSize | None = 100 * 10**6
    error_rate: Annotated[float, Field(gt=0, le=1)] | None = 0.05
    error_rate_requests: Annotated[int, Field(ge=1)] = 10
    latency_p99_ms: Annotated[float, Field(gt=0)] | None = None
    windows: Annotated[int, Field(ge=1)] = 3


class TelemetryConfig(Section):
    """How often telemetry is published, and where else it can be read.

    Attributes:
        interval_s: The length of a window.
        outbox_length: The number of messages kept while the broker is unreachable; beyond it the oldest is dropped.
        prometheus_port: The port of a text endpoint for Prometheus on the loopback interface; none by default.
        events: The limits beyond which an event is published.
    """

    interval_s: Annotated[float, Field(ge=0.1)] = 10.0
    outbox_length: Annotated[int, Field(ge=1)] = 256
    prometheus_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    events: EventsConfig = EventsConfig()


class LogConfig(Section):
    """The log on standard error.

    Attributes:
        level: The lowest level that is logged.
        format: Lines of text, or one JSON object per line.
    """

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"
