"""The JSON documents that the agent publishes: status, model state, telemetry, events and error replies."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from drupelet_shared.labels import Labels
from drupelet_shared.names import Name
from drupelet_shared.tensors import TensorSpec


class _Message(BaseModel):
    # A newer agent may send fields that this version does not know.
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    def to_bytes(self) -> bytes:
        """Return the MQTT payload, UTF-8 JSON."""
        return self.model_dump_json(exclude_none=True).encode()


# What a reader computes with these must not overflow: a device may send any number, and readers show many devices.
Count = Annotated[int, Field(ge=0, le=2**63 - 1)]
"""A number of things or bytes."""
Number = Annotated[float, Field(ge=-1e15, le=1e15)]
"""A measured value."""

StoreState = Literal["ok", "read_only", "failed"]


class DeviceStatus(_Message):
    """`status`: the birth message and the last will.

    Attributes:
        state: "offline" comes from the last will, or from the agent when it stops.
        device: Its name.
        session: A new identifier for each run of the agent, the same in birth and will: it tells a late will from the
            will of this run.
        agent_version: The agent's.
        store: Whether packages can be installed: "read_only" is the usual end of an SD card, "failed" another error of
            the store; what is active is served in either case. Absent in the last will.
        store_error: What is wrong with the store, in words; absent if nothing is.
        measures: Whether the device times candidates of a compiler (section 12.2 of the contract). Absent in the last
            will, and in messages of agents that do not tell.
        labels: The labels of its configuration, by name; in birth and will, so that a device that is offline can be
            chosen by them too. Absent if it has none.
    """

    state: Literal["online", "offline"]
    device: Name
    session: str
    agent_version: str
    store: StoreState | None = None
    store_error: str | None = None
    measures: bool | None = None
    labels: Labels | None = None


class ConfidenceInterval(_Message):
    """The 95 % confidence interval of a percentile.

    Attributes:
        low_ms: The lower bound.
        high_ms: The upper bound; absent where there were too few runs for one.
    """

    low_ms: Number
    high_ms: Number | None = None


class Plan(_Message):
    """How the device runs a model, what it measured, and why it chose this plan.

    Attributes:
        engine: The engine that runs the variant.
        threads: Threads of each instance.
        instances: Worker processes that share the model's queue.
        memory_budget_bytes: Memory that all instances together may allocate.
        p50_ms: The median of an inference, as measured on the device.
        p99_ms: The 99th percentile, with all instances at work.
        footprint_bytes: Peak memory of all instances together during the measurement.
        reason: Why this plan was chosen.
        objective: What the plan was chosen for: the lowest p99, or the most inferences per second.
        p99_bound_ms: The bound on p99 for the objective `throughput`.
        throughput_per_s: Inferences per second with all instances at work; absent in plans of older agents.
        cores: Cores available to the model when it was measured; absent in plans of older agents.
        runs: Inferences that were measured; absent in plans of older agents.
        p50_interval: The interval of the median.
        p99_interval: The interval of the 99th percentile.
    """

    engine: str
    threads: Annotated[int, Field(gt=0)]
    instances: Annotated[int, Field(gt=0)]
    memory_budget_bytes: Count
    p50_ms: Number
    p99_ms: Number
    footprint_bytes: Count
    reason: str
    objective: Literal["latency", "throughput"] = "latency"
    p99_bound_ms: Number | None = None
    throughput_per_s: Number | None = None
    cores: Annotated[int, Field(gt=0)] | None = None
    runs: Annotated[int, Field(gt=0)] | None = None
    p50_interval: ConfidenceInterval | None = None
    p99_interval: ConfidenceInterval | None = None


ChangeKind = Literal["installed", "staged", "activated", "tuned", "rolled_back", "rolled_back_by_itself", "removed"]


class PlanChange(_Message):
    """One change of what runs for a model.

    Attributes:
        at: By the device's clock, which may be wrong without a network.
        what: The kind of change.
        release: The release that runs from then on.
        runs: The plan, in words.
        why: The reason for the change.
    """

    at: datetime
    what: ChangeKind
    release: Count
    runs: str
    why: str


class ModelState(_Message):
    """`models/<model>/state`, retained: what runs for a model.

    Attributes:
        model: Its name.
        version: Of the active release.
        release: The active one.
        digest: Of the active package.
        health: Whether it answers.
        variant: The one that runs.
        plan: How it runs.
        inputs: The tensors the running model takes.
        outputs: The tensors the running model gives.
        earlier_versions: Those that answer beside this one.
        changes: The latest changes of release and plan, the oldest first.
        error: Why it does not answer, or what else is wrong with it.
        code: The stable code of that error.
    """

    model: Name
    version: str
    release: Count
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
    """A latency distribution over one telemetry window, in milliseconds.

    Attributes:
        count: Number of requests.
        p50_ms: The median.
        p90_ms: The 90th percentile.
        p95_ms: The 95th percentile.
        p99_ms: The 99th percentile.
        max_ms: The maximum, exact.
        mean_ms: The mean, exact; absent from older agents. The means of the stages add up, percentiles do not.
    """

    count: Count
    p50_ms: Number
    p90_ms: Number
    p95_ms: Number
    p99_ms: Number
    max_ms: Number
    mean_ms: Number | None = None


class ModelTelemetry(_Message):
    """`telemetry/models/<model>`: one window of one model.

    Attributes:
        model: Its name.
        version: The one that answered.
        variant: The one that ran.
        window_s: Length of the window in seconds.
        outcomes: How many requests ended with "ok" and with each error code in the window.
        totals: The same counts since the agent started to serve the model.
        queue: Waiting for a worker.
        decode: Reading the request.
        inference: In the engine.
        encode: Writing the reply.
        total: From arrival to reply.
        labels: How often each label was found in the window, where the device's configuration asks for it; at most 64
            labels, further ones count as "other".
    """

    model: Name
    version: str
    variant: str
    window_s: Number
    outcomes: dict[str, Count]
    totals: dict[str, Count] = Field(default_factory=dict)
    queue: Percentiles | None = None
    decode: Percentiles | None = None
    inference: Percentiles | None = None
    encode: Percentiles | None = None
    total: Percentiles | None = None
    labels: dict[str, Count] | None = None


class WorkerMemory(_Message):
    """The memory of one worker process.

    Attributes:
        pid: The process.
        resident_bytes: Its resident memory.
        model: The model it runs; absent while its release starts or stops.
    """

    pid: Count
    resident_bytes: Count
    model: Name | None = None


class DeviceTelemetry(_Message):
    """`telemetry/device`; values that the device does not provide are absent.

    Attributes:
        device: Its name.
        uptime_s: Since the device booted.
        cpu_percent: Of the whole device, 0 to 100.
        memory_total_bytes: Of the device.
        memory_available_bytes: Of the device, without swapping.
        agent_memory_bytes: Resident, of the parent process.
        workers_memory_bytes: Resident, of all workers.
        workers: Each of them.
        temperature_celsius: Of the processor.
        throttled: Whether the firmware slows the processor down now.
        throttling: The firmware's flags that are set; those ending in `_occurred` were set since the device booted.
        clock_mhz: Of the processor, now.
        disk_free_bytes: Where the packages are.
        dropped_messages: Telemetry and events discarded since the agent started, because they waited too long.
    """

    device: Name
    uptime_s: Annotated[Number, Field(ge=-1e12, le=1e12)]
    cpu_percent: Number
    memory_total_bytes: Count
    memory_available_bytes: Count
    agent_memory_bytes: Count
    workers_memory_bytes: Count
    workers: tuple[WorkerMemory, ...] = ()
    temperature_celsius: Number | None = None
    throttled: bool | None = None
    throttling: tuple[str, ...] | None = None
    clock_mhz: Number | None = None
    disk_free_bytes: Count | None = None
    dropped_messages: Count = 0


class ModelHistory(_Message):
    """One model's part of `telemetry/history`: a value for each point, the latest last; null is a point without it.

    Attributes:
        model: Its name.
        requests_per_s: Requests that ended, per second.
        error_rate: The share of them that was not answered with a result, 0 to 1.
        p50_ms: The mean of the windows' medians from arrival to reply, weighted by their requests.
        p90_ms: The same of the 90th percentiles.
        p99_ms: The largest of the windows' 99th percentiles.
    """

    model: Name
    requests_per_s: tuple[Number, ...]
    error_rate: tuple[Number, ...]
    p50_ms: tuple[Number | None, ...]
    p90_ms: tuple[Number | None, ...]
    p99_ms: tuple[Number | None, ...]


class TelemetryHistory(_Message):
    """`telemetry/history`, retained: the latest points of the device and its models, each of several windows.

    Attributes:
        device: Its name.
        ended_at: The end of the latest point, by the device's clock, which may be wrong without a network.
        point_s: The length of a point.
        cpu_percent: Of the whole device, 0 to 100, the mean of a point; the latest last.
        memory_used: The share of the device's memory that is not available, 0 to 1, the largest of a point.
        temperature_celsius: Of the processor, the largest of a point; null where the device has no sensor.
        models: The models that are served; one that was installed later has fewer points.
    """

    device: Name
    ended_at: datetime
    point_s: Number
    cpu_percent: tuple[Number, ...]
    memory_used: tuple[Number, ...]
    temperature_celsius: tuple[Number | None, ...]
    models: tuple[ModelHistory, ...] = ()


class Event(_Message):
    """`event`: a value of the device or of a model exceeded its limit, or is back within it.

    Attributes:
        device: Its name.
        kind: Which value; `reply` counts the replies that the broker did not accept, `store` is 1 while the
            store cannot be read or written.
        state: "raised" when it exceeded the limit, "cleared" when it is back within it.
        value: The value.
        limit: The limit.
        message: For people.
        model: The model whose value it is; absent for values of the device.
    """

    device: Name
    kind: Literal["temperature", "memory", "error_rate", "latency", "reply", "store"]
    state: Literal["raised", "cleared"]
    value: Number
    limit: Number
    message: str
    model: Name | None = None


class ErrorReply(_Message):
    """The body of a reply that refuses a request.

    Attributes:
        error: For people; it may change.
        code: Stable.
        id: The request's, where it is known.
    """

    error: str
    code: str
    id: str | None = None
