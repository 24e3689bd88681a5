"""The JSON the agent publishes: birth and will, model state, telemetry, and errors as replies."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from drupelet_shared.names import Name
from drupelet_shared.tensors import TensorSpec


class _Message(BaseModel):
    # A newer agent may say more than this reader knows.
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

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
    """How the device runs a model, what was measured of it, and why it was chosen.

    Attributes:
        threads: Threads of each instance.
        instances: Worker processes that take from the model's one queue.
        memory_budget_bytes: What all instances together may allocate.
        footprint_bytes: What all instances together held at the most while they were measured.
        objective: What the choice was for: the lowest p99, or the most inferences per second.
        p99_bound_ms: The bound on p99 that went with `throughput`.
        throughput_per_s: Inferences per second with all instances at work; absent in plans of older agents.
        cores: The cores the model could use when it was measured; absent in plans of older agents.
    """

    engine: str
    threads: Annotated[int, Field(gt=0)]
    instances: Annotated[int, Field(gt=0)]
    memory_budget_bytes: int
    p50_ms: float
    p99_ms: float
    footprint_bytes: int
    reason: str
    objective: Literal["latency", "throughput"] = "latency"
    p99_bound_ms: float | None = None
    throughput_per_s: float | None = None
    cores: Annotated[int, Field(gt=0)] | None = None


ChangeKind = Literal["installed", "staged", "activated", "tuned", "rolled_back", "rolled_back_by_itself", "removed"]


class PlanChange(_Message):
    """One change of what runs for a model; `at` is by the device's clock, which may be wrong without a network."""

    at: datetime
    what: ChangeKind
    release: int
    runs: str
    why: str


class ModelState(_Message):
    """`models/<model>/state`, retained; `inputs` and `outputs` are what the running model takes and gives.

    `earlier_versions` are those that answer beside this one; `changes` are the latest changes of release and plan.
    """

    model: Name
    version: str
    release: int
    digest: str
    health: Literal["starting", "ready", "failed", "evicted", "removed"]
    variant: str | None = None
    plan: Plan | None = None
    inputs: tuple[TensorSpec, ...] | None = None
    outputs: tuple[TensorSpec, ...] | None = None
    earlier_versions: tuple[str, ...] | None = None
    changes: tuple[PlanChange, ...] | None = None
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
    """`telemetry/models/<model>`: one window of one model.

    `outcomes` counts "ok" and each error code in the window, `totals` since the agent began to serve the model.
    """

    model: Name
    version: str
    variant: str
    window_s: float
    outcomes: dict[str, int]
    totals: dict[str, int] = Field(default_factory=dict)
    queue: Percentiles | None = None
    decode: Percentiles | None = None
    inference: Percentiles | None = None
    encode: Percentiles | None = None
    total: Percentiles | None = None


class WorkerMemory(_Message):
    """What one worker process holds; `model` is absent while its release arrives or leaves."""

    pid: int
    resident_bytes: int
    model: Name | None = None


class DeviceTelemetry(_Message):
    """`telemetry/device`; what the device does not tell is absent.

    `throttling` names the firmware's flags that are set; those ending in `_occurred` were set since the device booted.
    `dropped_messages` counts telemetry and events that the agent gave up since it started, as they waited too long.
    """

    device: Name
    uptime_s: float
    cpu_percent: float
    memory_total_bytes: int
    memory_available_bytes: int
    agent_memory_bytes: int
    workers_memory_bytes: int
    workers: tuple[WorkerMemory, ...] = ()
    temperature_celsius: float | None = None
    throttled: bool | None = None
    throttling: tuple[str, ...] | None = None
    clock_mhz: float | None = None
    disk_free_bytes: int | None = None
    dropped_messages: int = 0


class Event(_Message):
    """`event`: a number of the device, or of one model, went beyond its limit, or came back."""

    device: Name
    kind: Literal["temperature", "memory", "error_rate", "latency"]
    state: Literal["raised", "cleared"]
    value: float
    limit: float
    message: str
    model: Name | None = None


class ErrorReply(_Message):
    """The body of a reply that refuses a request."""

    error: str
    code: str
    id: str | None = None
