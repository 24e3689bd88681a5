"""Many devices by their words alone: the messages that real agents publish, from numbers that a seed gives."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

from drupelet_shared.contract.messages import (
    DeviceStatus,
    DeviceTelemetry,
    Event,
    ModelHistory,
    ModelState,
    ModelTelemetry,
    Percentiles,
    Plan,
    TelemetryHistory,
)
from drupelet_shared.contract.topics import DeviceTopics
from support.agent.repeating import repeating
from support.broker.brokers import Broker

MODELS = ("digits", "detector")


@dataclass(frozen=True)
class Announced:
    """A message as a broker would carry it."""

    topic: str
    payload: bytes
    retain: bool = False


def birth(device: str, *, state: str = "online", session: str = "1", labels: dict[str, str] | None = None) -> Announced:
    status = DeviceStatus(state=state, device=device, session=session, agent_version="0.1.0", labels=labels)
    return Announced(DeviceTopics(device).status, status.to_bytes(), retain=True)


def model_state(device: str, model: str = "digits", *, health: str = "ready", error: str | None = None) -> Announced:
    plan = Plan(
        engine="onnxruntime",
        threads=2,
        instances=1,
        memory_budget_bytes=268_435_456,
        p50_ms=3.1,
        p99_ms=3.9,
        footprint_bytes=61_865_984,
        reason="lowest p99 of those that fit",
    )
    state = ModelState(
        model=model,
        version="1.2.0",
        release=7,
        digest="9f" * 32,
        health=health,
        variant="ort-static-wi8-ai8",
        plan=plan,
        error=error,
    )
    return Announced(DeviceTopics(device).model_state(model), state.to_bytes(), retain=True)


def model_window(
    device: str, model: str = "digits", *, p50_ms: float = 4.0, window_s: float = 10.0, **outcomes: int
) -> Announced:
    """Return one window; `outcomes` are counts by code, 40 `ok` by default."""
    counts = outcomes or {"ok": 40}
    ends = [p50_ms * factor for factor in (1.0, 1.5, 1.75, 2.0, 2.5)]
    percentiles = Percentiles(
        mean_ms=p50_ms * 1.1,
        count=max(1, counts.get("ok", 0)),
        p50_ms=ends[0],
        p90_ms=ends[1],
        p95_ms=ends[2],
        p99_ms=ends[3],
        max_ms=ends[4],
    )
    telemetry = ModelTelemetry(
        model=model,
        version="1.2.0",
        variant="ort-static-wi8-ai8",
        window_s=window_s,
        outcomes=counts,
        totals=counts,
        inference=percentiles.model_copy(update={"mean_ms": p50_ms}),
        total=percentiles,
    )
    return Announced(DeviceTopics(device).model_telemetry(model), telemetry.to_bytes())


def device_window(
    device: str,
    *,
    celsius: float | None = 51.6,
    throttling: tuple[str, ...] | None = (),
    uptime_s: float = 100.0,
    memory_used: float = 0.25,
) -> Announced:
    telemetry = DeviceTelemetry(
        device=device,
        uptime_s=uptime_s,
        cpu_percent=12.5,
        memory_total_bytes=4_000_000_000,
        memory_available_bytes=round(4_000_000_000 * (1 - memory_used)),
        agent_memory_bytes=41_943_040,
        workers_memory_bytes=61_865_984,
        temperature_celsius=celsius,
        throttled=None if throttling is None else bool(throttling),
        throttling=throttling,
        clock_mhz=1500.0,
        disk_free_bytes=12_884_901_888,
    )
    return Announced(DeviceTopics(device).device_telemetry, telemetry.to_bytes())


def history(
    device: str, model: str = "digits", *, p99_ms: Sequence[float | None] = (8.0, 9.0), celsius: float | None = 51.6
) -> Announced:
    """Return the retained history of a device with one model; a point is a minute."""
    count = len(p99_ms)
    part = ModelHistory(
        model=model,
        requests_per_s=(4.0,) * count,
        error_rate=(0.0,) * count,
        p50_ms=tuple(None if value is None else value / 2 for value in p99_ms),
        p90_ms=tuple(None if value is None else value * 0.75 for value in p99_ms),
        p99_ms=tuple(p99_ms),
    )
    message = TelemetryHistory(
        device=device,
        ended_at=datetime.now(UTC),
        point_s=60.0,
        cpu_percent=(12.5,) * count,
        memory_used=(0.25,) * count,
        temperature_celsius=(celsius,) * count,
        models=(part,),
    )
    return Announced(DeviceTopics(device).telemetry_history, message.to_bytes(), retain=True)


def limit_crossed(device: str, *, state: str = "raised", value: float = 82.5) -> Announced:
    event = Event(
        device=device,
        kind="temperature",
        state=state,
        value=value,
        limit=80.0,
        message=f"the processor has {value:.1f} °C: the limit is 80.0 °C",
    )
    return Announced(DeviceTopics(device).event, event.to_bytes())


class SimulatedFleet:
    """Devices `pi-000`, `pi-001`, ..., of which one in twenty is offline."""

    def __init__(self, count: int, *, seed: int = 1) -> None:
        self._random = random.Random(seed)
        self.names = [f"pi-{number:03d}" for number in range(count)]
        self._uptime_s = 0.0

    def introduce(self) -> Iterator[Announced]:
        """Yield the retained messages."""
        for number, device in enumerate(self.names):
            yield birth(device, state="offline" if number % 20 == 19 else "online")
            for model in MODELS[: 1 + number % 2]:
                is_bad = number % 25 == 13
                error = "its workers died 5 times" if is_bad else None
                yield model_state(device, model, health="failed" if is_bad else "ready", error=error)

    def tell(self) -> Iterator[Announced]:
        """Yield one window of each device that is online."""
        self._uptime_s += 10.0
        for number, device in enumerate(self.names):
            if number % 20 == 19:
                continue
            hot = number % 17 == 5
            flags = ("throttled", "throttled_occurred") if hot else ("under_voltage_occurred",) * (number % 7 == 0)
            celsius = self._random.gauss(84 if hot else 55, 2)
            yield device_window(
                device,
                celsius=round(celsius, 1),
                throttling=flags,
                uptime_s=self._uptime_s,
                memory_used=self._random.uniform(0.2, 0.5),
            )
            for model in MODELS[: 1 + number % 2]:
                ok = self._random.randrange(20, 200)
                lost = {"overloaded": self._random.randrange(1, 9)} if number % 11 == 3 else {}
                yield model_window(device, model, p50_ms=self._random.uniform(2, 40), ok=ok, **lost)
            if hot and self._uptime_s == 10.0:
                yield limit_crossed(device)


def publishing(broker: Broker, simulated: SimulatedFleet) -> AbstractContextManager[None]:
    """Return a fleet that tells a window every half second."""
    return announcing(broker, list(simulated.introduce()), tell=simulated.tell, every_s=0.5)


@contextmanager
def announcing(
    broker: Broker, retained: Sequence[Announced], *, tell: Callable[[], Iterable[Announced]], every_s: float
) -> Iterator[None]:
    """Publish retained messages of devices, and others repeatedly; retained ones are cleared at the end."""
    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
    client.connect(broker.host, broker.port)
    client.loop_start()
    try:
        _publish(client, retained)
        with repeating(lambda: _publish(client, tell()), every_s=every_s):
            yield
        for sent in [client.publish(message.topic, b"", qos=1, retain=True) for message in retained]:
            sent.wait_for_publish(10)
    finally:
        client.disconnect()
        client.loop_stop()


def _publish(client: Client, messages: Iterable[Announced]) -> None:
    """Send them as agents do."""
    for message in messages:
        client.publish(message.topic, message.payload, qos=1 if message.retain else 0, retain=message.retain)
