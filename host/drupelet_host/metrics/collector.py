"""The series of a fleet, with the names and units that the agents' own endpoints use, and the device as a label."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from drupelet_host.fleet.state import Device, Fleet
from drupelet_shared.contract.messages import DeviceTelemetry
from drupelet_shared.labels import Label, has_labels

Result = TypeVar("Result")
_QUANTILES = (("0.5", "p50_ms"), ("0.9", "p90_ms"), ("0.99", "p99_ms"))


class FleetSource(Protocol):
    """A fleet that follows a broker."""

    @property
    def is_connected(self) -> bool:
        """Whether the connection to the broker stands now."""

    def read(self, view: Callable[[Fleet, float], Result]) -> Result:
        """Return what `view` computes from the fleet and the current time of its clock, in seconds."""


class FleetCollector(Collector):
    """Makes the series of a fleet whenever they are scraped.

    A device that is offline has no numbers, and neither has one whose telemetry is long overdue: a graph has a gap
    rather than the last value for ever.
    """

    def __init__(self, source: FleetSource, *, labels: Iterable[Label] = ()) -> None:
        """Make a collector.

        Args:
            source: The fleet.
            labels: The labels that a device must have to be exported.
        """
        self._source = source
        self._labels = tuple(labels)

    def collect(self) -> Iterable[Metric]:
        """Return every series as it is now."""
        connected = GaugeMetricFamily("drupelet_exporter_connected", "Whether the exporter is connected to the broker.")
        connected.add_metric([], float(self._source.is_connected))
        return [connected, *self._source.read(self._collect)]

    def _collect(self, fleet: Fleet, now_s: float) -> list[Metric]:
        malformed = CounterMetricFamily("drupelet_exporter_malformed_messages", "Messages that could not be read.")
        malformed.add_metric([], fleet.malformed)
        devices = [
            device
            for name, device in sorted(fleet.devices.items())
            if device.status is not None and has_labels(device.status.labels, self._labels)
        ]
        return [malformed, *_device_series(devices, now_s), *_model_series(devices, now_s)]


def _device_series(devices: Iterable[Device], now_s: float) -> Iterator[Metric]:
    info = GaugeMetricFamily("drupelet_agent_info", "The agent; always 1.", labels=["device", "version"])
    labels = GaugeMetricFamily("drupelet_device_label", "A label; always 1.", labels=["device", "name", "value"])
    online = GaugeMetricFamily("drupelet_device_online", "Whether the device is online.", labels=["device"])
    alerts = GaugeMetricFamily("drupelet_device_alert", "A raised alert; always 1.", labels=["device", "kind", "model"])
    throttling = GaugeMetricFamily(
        "drupelet_device_throttling", "Flags that the firmware has set; always 1.", labels=["device", "flag"]
    )
    dropped = CounterMetricFamily(
        "drupelet_messages_dropped", "Telemetry dropped without a connection to the broker.", labels=["device"]
    )
    gauges = {name: GaugeMetricFamily(name, text, labels=["device"]) for name, text, _ in _GAUGES}
    for device in devices:
        assert device.status is not None, "only devices with a status are exported"
        online.add_metric([device.name], float(device.is_online))
        info.add_metric([device.name, device.status.agent_version], 1)
        for name, value in (device.status.labels or {}).items():
            labels.add_metric([device.name, name, value], 1)
        for kind, model in device.alerts:
            alerts.add_metric([device.name, kind, model or ""], 1)
        telemetry = device.current_telemetry(now_s)
        if telemetry is None:
            continue
        for name, _, read in _GAUGES:
            number = read(telemetry)
            if number is not None:
                gauges[name].add_metric([device.name], number)
        for flag in telemetry.throttling or ():
            throttling.add_metric([device.name, flag], 1)
        dropped.add_metric([device.name], telemetry.dropped_messages)
    yield from (online, info, labels, alerts, *gauges.values(), throttling, dropped)


def _model_series(devices: Iterable[Device], now_s: float) -> Iterator[Metric]:
    key = ["device", "model"]
    ready = GaugeMetricFamily("drupelet_model_ready", "1 while the model's workers can answer.", labels=key)
    info = GaugeMetricFamily(
        "drupelet_model_info", "What runs for the model; always 1.", labels=[*key, "version", "variant"]
    )
    requests = CounterMetricFamily("drupelet_requests", "Requests by outcome.", labels=[*key, "code"])
    latency = GaugeMetricFamily(
        "drupelet_request_latency_seconds",
        "From arrival to reply, over the latest window of the device.",
        labels=[*key, "quantile"],
    )
    for device in devices:
        for name, model in sorted(device.models.items()):
            own = [device.name, name]
            if model.state is not None:
                ready.add_metric(own, float(device.is_online and model.state.health == "ready"))
                info.add_metric([*own, model.state.version, model.state.variant or ""], 1)
            window = device.current_window(name, now_s)
            if window is None or model.telemetry is None:
                continue
            for code, count in sorted(model.telemetry.totals.items()):
                requests.add_metric([*own, code], count)
            for quantile, percentile in _QUANTILES:
                milliseconds = getattr(window, percentile)
                if milliseconds is not None:
                    latency.add_metric([*own, quantile], milliseconds / 1e3)
    yield from (ready, info, requests, latency)


_GAUGES: tuple[tuple[str, str, Callable[[DeviceTelemetry], float | None]], ...] = (
    ("drupelet_device_uptime_seconds", "Time since the device booted.", lambda one: one.uptime_s),
    ("drupelet_device_cpu_usage_ratio", "Processor use of the whole device.", lambda one: one.cpu_percent / 100),
    ("drupelet_device_memory_bytes", "Memory of the device, or its limit.", lambda one: one.memory_total_bytes),
    (
        "drupelet_device_memory_available_bytes",
        "Memory that can be allocated without swapping.",
        lambda one: one.memory_available_bytes,
    ),
    ("drupelet_device_temperature_celsius", "The processor's temperature.", lambda one: one.temperature_celsius),
    (
        "drupelet_device_clock_hertz",
        "The first core's clock.",
        lambda one: None if one.clock_mhz is None else one.clock_mhz * 1e6,
    ),
    ("drupelet_device_disk_free_bytes", "Free space for packages.", lambda one: one.disk_free_bytes),
    ("drupelet_agent_memory_bytes", "Resident memory of the agent itself.", lambda one: one.agent_memory_bytes),
    ("drupelet_workers_memory_bytes", "Resident memory of all workers.", lambda one: one.workers_memory_bytes),
)
