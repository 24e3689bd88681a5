"""The text that Prometheus reads, judged by its own parser, and the server in front of it."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from drupelet_agent.serving.job import Outcome, StageTimes
from drupelet_agent.serving.metrics import STAGES, ModelMetrics
from drupelet_agent.telemetry.endpoint import LOOPBACK, MetricsEndpoint
from drupelet_agent.telemetry.prometheus import CONTENT_TYPE, ModelNumbers, render
from drupelet_shared.contract.messages import DeviceTelemetry, WorkerMemory
from support.broker.brokers import free_port

DEVICE = DeviceTelemetry(
    device="pi-1",
    uptime_s=12.5,
    cpu_percent=50.0,
    memory_total_bytes=4_000_000_000,
    memory_available_bytes=3_000_000_000,
    agent_memory_bytes=40_000_000,
    workers_memory_bytes=90_000_000,
    workers=(WorkerMemory(pid=77, resident_bytes=90_000_000, model="digits"), WorkerMemory(pid=78, resident_bytes=5)),
    temperature_celsius=51.5,
    throttling=("under_voltage",),
    clock_mhz=1500.0,
    disk_free_bytes=10**9,
    dropped_messages=3,
)
BARE = DEVICE.model_copy(
    update={"temperature_celsius": None, "throttling": None, "clock_mhz": None, "disk_free_bytes": None, "workers": ()}
)


def metrics_of(*totals_ms: float) -> ModelMetrics:
    metrics = ModelMetrics()
    for total_ms in totals_ms:
        times = StageTimes(queue_ms=1, decode_ms=2, inference_ms=3, encode_ms=4, total_ms=total_ms)
        metrics.record(Outcome(code="ok", payload=b"", times=times))
    return metrics


def parse(text: str) -> dict[str, Metric]:
    families = list(text_string_to_metric_families(text))
    assert len({family.name for family in families}) == len(families)
    return {family.name: family for family in families}


def value(family: Metric, name: str, **labels: str) -> float:
    (found,) = [sample.value for sample in family.samples if sample.name == name and sample.labels == labels]
    return float(found)


def test_everything_is_understood_and_has_help_and_a_type() -> None:
    text = render(DEVICE, [ModelNumbers(model="digits", ready=True, metrics=metrics_of(1.0, 20.0))])
    families = parse(text)
    assert all(family.documentation and family.type != "unknown" for family in families.values())
    assert value(families["drupelet_device_clock_hertz"], "drupelet_device_clock_hertz") == 1.5e9
    assert value(families["drupelet_device_cpu_usage_ratio"], "drupelet_device_cpu_usage_ratio") == 0.5
    assert value(families["drupelet_messages_dropped"], "drupelet_messages_dropped_total") == 3
    throttling = families["drupelet_device_throttling"]
    assert value(throttling, "drupelet_device_throttling", flag="under_voltage") == 1
    memory = families["drupelet_worker_memory_bytes"]
    assert value(memory, "drupelet_worker_memory_bytes", model="digits", pid="77") == 90_000_000
    requests = families["drupelet_requests"]
    assert value(requests, "drupelet_requests_total", model="digits", code="ok") == 2


def test_what_a_device_does_not_tell_is_absent() -> None:
    families = parse(render(BARE, []))
    assert {"drupelet_device_temperature_celsius", "drupelet_device_throttling"}.isdisjoint(families)
    assert "drupelet_device_memory_available_bytes" in families


@given(st.lists(st.floats(min_value=0, max_value=1e5), max_size=30))
def test_buckets_add_up_in_seconds(totals_ms: list[float]) -> None:
    text = render(BARE, [ModelNumbers(model="digits", ready=True, metrics=metrics_of(*totals_ms))])
    family = parse(text)["drupelet_request_duration_seconds"]
    assert family.type == "histogram"
    for sample in family.samples:
        if sample.name.endswith("_bucket"):
            bound_s = float(sample.labels["le"])
            assert sample.value == sum(total_ms / 1e3 <= bound_s for total_ms in totals_ms)
    assert value(family, "drupelet_request_duration_seconds_count", model="digits") == len(totals_ms)
    found = value(family, "drupelet_request_duration_seconds_sum", model="digits")
    assert math.isclose(found, sum(totals_ms) / 1e3, rel_tol=1e-9, abs_tol=1e-12)


def test_each_stage_but_the_total_has_its_own_histogram() -> None:
    text = render(BARE, [ModelNumbers(model="digits", ready=False, metrics=metrics_of(10))])
    families = parse(text)
    stages = families["drupelet_request_stage_duration_seconds"]
    name = "drupelet_request_stage_duration_seconds_sum"
    found = {stage: value(stages, name, model="digits", stage=stage) for stage in STAGES if stage != "total"}
    assert found == {"queue": 0.001, "decode": 0.002, "inference": 0.003, "encode": 0.004}
    assert value(families["drupelet_model_ready"], "drupelet_model_ready", model="digits") == 0


def test_counters_go_on_over_the_windows_of_telemetry() -> None:
    metrics = metrics_of(1.0)
    metrics._start_window()
    metrics.record(Outcome(code="overloaded", payload=b""))
    families = parse(render(BARE, [ModelNumbers(model="digits", ready=True, metrics=metrics)]))
    assert {sample.labels["code"]: sample.value for sample in families["drupelet_requests"].samples} == {
        "ok": 1,
        "overloaded": 1,
    }


def test_a_label_cannot_break_out_of_its_quotes() -> None:
    odd = DEVICE.model_copy(update={"throttling": ('a"b\\c\nd',)})
    family = parse(render(odd, []))["drupelet_device_throttling"]
    assert [sample.labels["flag"] for sample in family.samples] == ['a"b\\c\nd']


async def exchange(port: int, request: bytes) -> tuple[int, dict[str, str], bytes]:
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    try:
        writer.write(request)
        if not request.endswith(b"\r\n\r\n"):
            writer.write_eof()
        # The server closes each connection.
        answer = await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()
        await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *fields = head.decode().split("\r\n")
    return int(status.split()[1]), dict(field.split(": ", 1) for field in fields), body


def served(ask: Callable[[int], Awaitable[None]]) -> None:
    async def run() -> None:
        port = free_port()
        endpoint = MetricsEndpoint(port, lambda: render(DEVICE, []))
        await endpoint.start()
        try:
            await ask(port)
        finally:
            endpoint.stop()

    asyncio.run(run())


def test_a_scrape_gets_the_metrics() -> None:
    async def ask(port: int) -> None:
        status, fields, body = await exchange(port, b"GET /metrics?x=1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert status == 200
        assert fields["Content-Type"] == CONTENT_TYPE
        assert int(fields["Content-Length"]) == len(body)
        assert body.decode() == render(DEVICE, [])

    served(ask)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 404),
        (b"GET /metrics/../etc HTTP/1.1\r\n\r\n", 404),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 405),
        (b"GET /metrics\r\n\r\n", 400),
        (b"\x16\x03\x01 hello\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", 431),
    ],
)
def test_anything_else_is_refused_and_the_next_scrape_is_served(request_bytes: bytes, status: int) -> None:
    async def ask(port: int) -> None:
        found, fields, _ = await exchange(port, request_bytes)
        assert found == status
        assert ("Allow" in fields) == (status == 405)
        assert (await exchange(port, b"GET /metrics HTTP/1.0\r\n\r\n"))[0] == 200

    served(ask)


def test_a_port_that_is_taken_costs_the_endpoint_and_not_the_agent(caplog: pytest.LogCaptureFixture) -> None:
    async def ask(port: int) -> None:
        second = MetricsEndpoint(port, lambda: "")
        await second.start()
        second.stop()
        assert (await exchange(port, b"GET /metrics HTTP/1.1\r\n\r\n"))[0] == 200

    served(ask)
    assert "metrics endpoint cannot listen" in caplog.text
    assert caplog.records[-1].levelno == logging.ERROR
