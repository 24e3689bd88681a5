"""The numbers of the agent in the Prometheus text format 0.0.4.

Source: Prometheus documentation, "Exposition formats" and "Metric and label naming": base units, `_total` on counters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from drupelet_agent import __version__
from drupelet_agent.telemetry.durations import Durations
from drupelet_shared.contract.messages import DeviceTelemetry

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_TOTAL = "total"


class Counts(Protocol):
    """The numbers of a model since the start."""

    @property
    def totals(self) -> Mapping[str, int]:
        """Requests by outcome."""

    @property
    def durations(self) -> Mapping[str, Durations]:
        """Durations by stage."""


@dataclass(frozen=True, slots=True)
class ModelNumbers:
    """One served model.

    Attributes:
        model: Its name.
        ready: Whether its workers can answer.
        metrics: Its numbers since the start.
    """

    model: str
    ready: bool
    metrics: Counts


@dataclass(frozen=True, slots=True)
class _Sample:
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)
    suffix: str = ""


def render(device: DeviceTelemetry, models: Iterable[ModelNumbers]) -> str:
    """Return all metrics as text.

    Args:
        device: The device's latest numbers.
        models: Every served model.
    """
    return "".join([*_device_lines(device), *_model_lines(list(models))])


def _device_lines(device: DeviceTelemetry) -> Iterator[str]:
    info = {"version": __version__, "device": device.device}
    yield _family("drupelet_agent_info", "gauge", "The agent; always 1.", [_Sample(1, info)])
    gauges = {
        "drupelet_device_uptime_seconds": ("Time since the device booted.", device.uptime_s),
        "drupelet_device_cpu_usage_ratio": ("Processor use of the whole device.", device.cpu_percent / 100),
        "drupelet_device_memory_bytes": ("Memory of the device, or its limit.", device.memory_total_bytes),
        "drupelet_device_memory_available_bytes": (
            "Memory that can be allocated without swapping.",
            device.memory_available_bytes,
        ),
        "drupelet_device_temperature_celsius": ("The processor's temperature.", device.temperature_celsius),
        "drupelet_device_clock_hertz": (
            "The first core's clock.",
            None if device.clock_mhz is None else device.clock_mhz * 1e6,
        ),
        "drupelet_device_disk_free_bytes": ("Free space for packages.", device.disk_free_bytes),
        "drupelet_agent_memory_bytes": ("Resident memory of the agent itself.", device.agent_memory_bytes),
    }
    for name, (help_text, value) in gauges.items():
        if value is not None:
            yield _family(name, "gauge", help_text, [_Sample(value)])
    flags = [_Sample(1, {"flag": flag}) for flag in device.throttling or ()]
    yield _family("drupelet_device_throttling", "gauge", "Flags that the firmware has set; always 1.", flags)
    workers = [
        _Sample(worker.resident_bytes, {"model": worker.model or "", "pid": str(worker.pid)})
        for worker in device.workers
    ]
    yield _family("drupelet_worker_memory_bytes", "gauge", "Resident memory of a worker process.", workers)
    dropped = [_Sample(device.dropped_messages)]
    yield _family(
        "drupelet_messages_dropped_total",
        "counter",
        "Telemetry dropped while there was no connection to the broker.",
        dropped,
    )


def _model_lines(models: list[ModelNumbers]) -> Iterator[str]:
    ready = [_Sample(int(numbers.ready), {"model": numbers.model}) for numbers in models]
    yield _family("drupelet_model_ready", "gauge", "1 while the model's workers can answer.", ready)
    requests = [
        _Sample(count, {"model": numbers.model, "code": code})
        for numbers in models
        for code, count in sorted(numbers.metrics.totals.items())
    ]
    yield _family("drupelet_requests_total", "counter", "Requests by outcome.", requests)
    total = [
        sample
        for numbers in models
        for sample in _histogram({"model": numbers.model}, numbers.metrics.durations[_TOTAL])
    ]
    yield _family(
        "drupelet_request_duration_seconds", "histogram", "From arrival to reply, of answered requests.", total
    )
    stages = [
        sample
        for numbers in models
        for stage, durations in numbers.metrics.durations.items()
        if stage != _TOTAL
        for sample in _histogram({"model": numbers.model, "stage": stage}, durations)
    ]
    help_text = "Parts of the time from arrival to reply."
    yield _family("drupelet_request_stage_duration_seconds", "histogram", help_text, stages)


def _histogram(labels: Mapping[str, str], durations: Durations) -> Iterator[_Sample]:
    buckets = durations.cumulative()
    for bound, count in buckets:
        yield _Sample(count, {**labels, "le": _number(bound)}, "_bucket")
    yield _Sample(durations.sum_s, labels, "_sum")
    yield _Sample(buckets[-1][1], labels, "_count")


def _family(name: str, kind: str, help_text: str, samples: Iterable[_Sample]) -> str:
    lines = [f"{name}{sample.suffix}{_labels(sample.labels)} {_number(sample.value)}\n" for sample in samples]
    return f"# HELP {name} {help_text}\n# TYPE {name} {kind}\n{''.join(lines)}" if lines else ""


def _labels(labels: Mapping[str, str]) -> str:
    pairs = ",".join(f'{name}="{_escape(value)}"' for name, value in labels.items())
    return f"{{{pairs}}}" if pairs else ""


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    if value == float("inf"):
        return "+Inf"
    return repr(value)
