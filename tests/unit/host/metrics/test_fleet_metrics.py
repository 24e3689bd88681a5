"""The series of a fleet, as a Prometheus server reads them."""

from __future__ import annotations

import urllib.request

from prometheus_client.parser import text_string_to_metric_families

from drupelet_host.metrics.serving import serving_metrics
from drupelet_shared.labels import Label
from fakes.fleet_source import FakeSource
from support.agent.fleets import birth, device_window, limit_crossed, model_state, model_window

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scrape(source: FakeSource, *labels: Label) -> Samples:
    with serving_metrics(source, host="127.0.0.1", port=0, labels=labels) as port:
        text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(samples: Samples, series: str, **labels: str) -> float | None:
    return samples.get((series, frozenset(labels.items())))


def test_every_number_of_device_and_model_is_a_series() -> None:
    source = FakeSource(
        [
            birth("pi-1"),
            model_state("pi-1"),
            device_window("pi-1", throttling=("under_voltage",)),
            limit_crossed("pi-1"),
        ]
    )
    source.take([model_window("pi-1", p50_ms=4.0, ok=40, overloaded=2)])
    samples = scrape(source)
    assert value(samples, "drupelet_exporter_connected") == 1
    assert value(samples, "drupelet_device_online", device="pi-1") == 1
    assert value(samples, "drupelet_device_temperature_celsius", device="pi-1") == 51.6
    assert value(samples, "drupelet_device_cpu_usage_ratio", device="pi-1") == 0.125
    assert value(samples, "drupelet_device_throttling", device="pi-1", flag="under_voltage") == 1
    assert value(samples, "drupelet_device_alert", device="pi-1", kind="temperature", model="") == 1
    assert value(samples, "drupelet_model_ready", device="pi-1", model="digits") == 1
    assert value(samples, "drupelet_requests_total", device="pi-1", model="digits", code="overloaded") == 2
    assert value(samples, "drupelet_request_latency_seconds", device="pi-1", model="digits", quantile="0.5") == 0.004
    assert (
        value(
            samples, "drupelet_model_info", device="pi-1", model="digits", version="1.2.0", variant="ort-static-wi8-ai8"
        )
        == 1
    )


def test_a_device_that_is_offline_or_silent_has_a_gap_and_no_old_numbers() -> None:
    source = FakeSource([birth("pi-1"), model_state("pi-1"), device_window("pi-1"), model_window("pi-1")])
    source.now_s += 1000
    silent = scrape(source)
    assert value(silent, "drupelet_device_online", device="pi-1") == 1
    assert value(silent, "drupelet_device_temperature_celsius", device="pi-1") is None
    source.take([birth("pi-1", state="offline")])
    offline = scrape(source)
    assert value(offline, "drupelet_device_online", device="pi-1") == 0
    assert value(offline, "drupelet_model_ready", device="pi-1", model="digits") == 0
    assert value(offline, "drupelet_requests_total", device="pi-1", model="digits", code="ok") is None


def test_an_exporter_exports_the_devices_with_its_labels() -> None:
    source = FakeSource([birth("pi-1")])
    labelled = birth("pi-2")
    source.take([type(labelled)(labelled.topic, labelled.payload[:-1] + b',"labels":{"site":"berlin"}}')])
    samples = scrape(source, Label("site", "berlin"))
    assert value(samples, "drupelet_device_online", device="pi-1") is None
    assert value(samples, "drupelet_device_online", device="pi-2") == 1
    assert value(samples, "drupelet_device_label", device="pi-2", name="site", value="berlin") == 1
