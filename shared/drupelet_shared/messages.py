"""The JSON the agent publishes: birth and will, model state, telemetry, and errors as replies."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from drupelet_shared.names import Name
from drupelet_shared.tensors import TensorSpec


class _Message(BaseModel):
    # A newer agent may say more than this reader knows.
    model_config = ConfigDict(frozen=True, extra="ignore")

    def to_bytes(self) -> bytes:
        """The payload, UTF-8 JSON."""
        return self.model_dump_json(exclude_none=True).encode()


class DeviceStatus(_Message):
    """`status`: the birth message and the last will share a `session`, so a stale will is told from a new birth."""

    state: Literal["online", "offline"]
    device: Name
    session: str
    agent_version: str


class Plan(_Message):
    """How the device runs a model."""

    engine: str
    threads: Annotated[int, Field(gt=0)]
    instances: Annotated[int, Field(gt=0)]
    memory_budget_bytes: int
    p50_ms: float
    p99_ms: float
    footprint_bytes: int
    reason: str


class ModelState(_Message):
    """`models/<model>/state`, retained; `inputs` and `outputs` are what the running model takes and gives."""

    model: Name
    version: str
    release: int
    digest: str
    health: Literal["starting", "ready", "failed", "removed"]
    variant: str | None = None
    plan: Plan | None = None
    inputs: tuple[TensorSpec, ...] | None = None
    outputs: tuple[TensorSpec, ...] | None = None
    error: str | None = None
    code: str | None = None


class Percentiles(_Message):
    """A latency distribution over one telemetry window, in milliseconds."""

    count: int
    p50_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float


class ModelTelemetry(_Message):
    """`telemetry/models/<model>`: one window of one model; `outcomes` counts "ok" and each error code."""

    model: Name
    version: str
    variant: str
    window_s: float
    outcomes: dict[str, int]
    queue: Percentiles | None = None
    decode: Percentiles | None = None
    inference: Percentiles | None = None
    encode: Percentiles | None = None
    total: Percentiles | None = None


class DeviceTelemetry(_Message):
    """`telemetry/device`; what the device does not tell is absent."""

    device: Name
    uptime_s: float
    cpu_percent: float
    memory_total_bytes: int
    memory_available_bytes: int
    agent_memory_bytes: int
    workers_memory_bytes: int
    temperature_celsius: float | None = None
    throttled: bool | None = None


class ErrorReply(_Message):
    """The body of a reply that refuses a request."""

    error: str
    code: str
    id: str | None = None
