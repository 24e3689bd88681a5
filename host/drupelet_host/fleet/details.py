"""The detailed view of one device in a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from drupelet_host.fleet.cells import UNKNOWN, format_ms, format_rate, format_share
from drupelet_host.fleet.printable import printable
from drupelet_host.fleet.rows import describe_labels, describe_plan
from drupelet_host.fleet.sparkline import draw_sparkline
from drupelet_host.fleet.state import Device, DeviceModel
from drupelet_shared.contract.messages import DeviceTelemetry, ModelState, ModelTelemetry
from drupelet_shared.units import format_bytes

_STAGES = ("queue", "decode", "inference", "encode", "total")
# Readable on a dark background.
_GOOD, _BAD, _LINE = "#7ee787", "#ff7b72", "#79c0ff"
_CHANGES_SHOWN = 5
_EVENTS_SHOWN = 10
_SPARKLINE_WIDTH = 60


def render_device(device: Device, now_s: float) -> RenderableType:
    """Render a device's numbers, each of its models, and its latest events."""
    parts: list[RenderableType] = [_facts(device, device.current_telemetry(now_s))]
    for name in sorted(device.models):
        parts += ["", *_show_model(device, device.models[name], now_s)]
    parts += ["", *_show_events(device)]
    return Group(*parts)


def _facts(device: Device, telemetry: DeviceTelemetry | None) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column()
    status = device.status
    table.add_row("status", f"{status.state}, agent {printable(status.agent_version)}" if status else "unknown")
    if status is not None and status.labels:
        table.add_row("labels", " ".join(describe_labels(status)))
    if status is not None and status.store_error is not None:
        table.add_row("store", printable(status.store_error))
    for name, value in _numbers(telemetry) if telemetry else ():
        table.add_row(name, value)
    return table


def _numbers(telemetry: DeviceTelemetry) -> Iterator[tuple[str, str]]:
    available, total = telemetry.memory_available_bytes, telemetry.memory_total_bytes
    yield "booted", f"{timedelta(seconds=round(telemetry.uptime_s))} ago"
    yield (
        "processor",
        f"{telemetry.cpu_percent:.0f} %" + (f" at {telemetry.clock_mhz:.0f} MHz" if telemetry.clock_mhz else ""),
    )
    if telemetry.temperature_celsius is not None:
        yield "temperature", f"{telemetry.temperature_celsius:.1f} °C"
    if telemetry.throttling is not None:
        yield "throttling", printable(", ".join(telemetry.throttling)) or "never since it booted"
    yield "memory", f"{format_bytes(available)} of {format_bytes(total)} available"
    yield (
        "",
        f"agent {format_bytes(telemetry.agent_memory_bytes)}, workers {format_bytes(telemetry.workers_memory_bytes)}",
    )
    if telemetry.disk_free_bytes is not None:
        yield "disk", f"{format_bytes(telemetry.disk_free_bytes)} free"
    if telemetry.dropped_messages:
        yield "dropped", f"{telemetry.dropped_messages} telemetry messages"


def _show_model(device: Device, model: DeviceModel, now_s: float) -> Iterator[RenderableType]:
    state = model.state
    yield Text(f"{model.name}  {state.version if state else ''}", style="bold underline")
    if state is not None:
        yield _state_facts(state)
    if device.current_window(model.name, now_s) is None or model.telemetry is None:
        yield Text("no telemetry now", style="dim")
        return
    window = model.windows[-1]
    yield Text(
        f"{format_rate(window.requests_per_s)} requests/s, {format_share(window.error_rate)} errors  "
        + ", ".join(f"{printable(code)} {count}" for code, count in sorted(model.telemetry.outcomes.items()))
    )
    yield _stages(model.telemetry)
    history = device.model_history(model.name)
    p99s = [each.p99_ms for each in model.windows] if history is None else list(history.p99_ms)
    largest = max((value for value in p99s if value is not None), default=None)
    length = "windows" if history is None or device.history is None else f"points of {device.history.point_s:.0f} s"
    yield Text(f"p99 of {len(p99s)} {length}, up to {format_ms(largest)}", style="dim")
    yield Text(draw_sparkline(p99s, width=_SPARKLINE_WIDTH), style=_LINE)


def _state_facts(state: ModelState) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column()
    table.add_row("health", f"{state.health}, release {state.release}, {state.digest[:16]}")
    table.add_row("variant", printable(state.variant or UNKNOWN))
    if state.plan is not None:
        measured = f"measured p50 {format_ms(state.plan.p50_ms)}, p99 {format_ms(state.plan.p99_ms)}"
        table.add_row("plan", Text(f"{state.plan.engine}, {describe_plan(state.plan)}; {measured}"))
        table.add_row("", Text(printable(state.plan.reason)))
        budget, footprint = state.plan.memory_budget_bytes, state.plan.footprint_bytes
        table.add_row("memory", f"{format_bytes(footprint)} of a budget of {format_bytes(budget)}")
    if state.error:
        table.add_row("error", Text(f"{printable(state.error)} [{state.code or 'no code'}]", style=_BAD))
    if state.earlier_versions:
        table.add_row("earlier", ", ".join(printable(version) for version in state.earlier_versions))
    for change in (state.changes or ())[-_CHANGES_SHOWN:]:
        text = f"{change.at:%Y-%m-%d %H:%M} {change.what} release {change.release}: {change.runs}; {change.why}"
        table.add_row("change", Text(printable(text)))
    return table


def _stages(telemetry: ModelTelemetry) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("stage")
    for heading in ("count", "mean", "p50", "p90", "p95", "p99", "max"):
        table.add_column(heading, justify="right")
    for stage in _STAGES:
        latency = getattr(telemetry, stage)
        if latency is None:
            continue
        if stage == "total" and (rest_ms := rest_of_total(telemetry)) is not None:
            table.add_row("rest", str(latency.count), format_ms(rest_ms), *[UNKNOWN] * 5)
        values = (latency.mean_ms, latency.p50_ms, latency.p90_ms, latency.p95_ms, latency.p99_ms, latency.max_ms)
        table.add_row(stage, str(latency.count), *(format_ms(value) for value in values))
    return table


def rest_of_total(telemetry: ModelTelemetry) -> float | None:
    """Return the mean time of a request between the stages: handing over between processes and sending the reply.

    It is what the stages miss of the total, per request of the total; None from agents that send no means.
    """
    total = telemetry.total
    if total is None or total.mean_ms is None:
        return None
    stages = (telemetry.queue, telemetry.decode, telemetry.inference, telemetry.encode)
    spent_ms = sum((stage.mean_ms or 0.0) * stage.count for stage in stages if stage is not None)
    return max(0.0, total.mean_ms - spent_ms / max(1, total.count))


def _show_events(device: Device) -> Iterator[RenderableType]:
    yield Text("events", style="bold underline")
    if not device.events:
        yield Text("none since this view was opened", style="dim")
    for event in list(device.events)[-_EVENTS_SHOWN:]:
        about = f" {event.model}" if event.model else ""
        style = f"bold {_BAD}" if event.state == "raised" else _GOOD
        yield Text(f"{event.state} {event.kind}{about}: {printable(event.message)}", style=style)
