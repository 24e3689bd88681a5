"""The messages of the commands that measure and store nothing: `profile` and `measure`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from drupelet_shared.contract.messages import ConfidenceInterval
from drupelet_shared.contract.sources import Source
from drupelet_shared.names import Name

Release = Annotated[int, Field(ge=1)]

# The task of a package that is measured and never installed.
MEASUREMENT_TASK = "measurement"


class _Message(BaseModel):
    # A newer peer may send fields that this version does not know.
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    def to_bytes(self) -> bytes:
        """Return the MQTT payload, UTF-8 JSON."""
        return self.model_dump_json(exclude_none=True).encode()


class ProfileRequest(_Message):
    """`command/profile`: measure the time of each operator, in a separate worker process.

    Attributes:
        model: The model.
        variant: A variant of its active release; by default the one that is served.
        runs: Inferences to record; fewer for a model with very many operators.
    """

    model: Name
    variant: Name | None = None
    runs: Annotated[int, Field(ge=1, le=1000)] = 30


class OperatorTime(_Message):
    """The time of one operator in an inference.

    Attributes:
        name: The operator's name in the graph that the engine runs, after its optimisations.
        type: What it computes, as the engine calls it.
        output: Type and shape of its output, where the engine reports them.
        calls: How often it runs in one inference.
        mean_ms: The mean of all calls together, including the operators inside it.
        self_ms: The median without those inside.
        p50_ms: The median with them; absent in reports of older agents, whose `self_ms` is a mean.
        self_mean_ms: The mean without those inside.
        parent: The position of the operator that contains it in a subgraph; absent at the top level.
    """

    name: str
    type: str
    output: str | None = None
    calls: float
    mean_ms: float
    self_ms: float
    p50_ms: float | None = None
    self_mean_ms: float | None = None
    parent: int | None = None


class ProfileReport(_Message):
    """The answer to `profile`.

    Attributes:
        model: The model.
        version: For people.
        release: The active one.
        variant: The one that was profiled.
        engine: The engine that ran it.
        engine_version: Its version.
        threads: Threads it had.
        runs: Inferences that were recorded.
        mean_ms: One inference as a whole, recording included, which slows it down.
        p50_ms: Half of them took no longer.
        p99_ms: 99 of 100 took no longer.
        operators: In the order they ran.
        note: What to know about the times, such as operators whose mean and median disagree.
    """

    model: Name
    version: Name
    release: Release
    variant: Name
    engine: str
    engine_version: str
    threads: int
    runs: int
    mean_ms: float
    p50_ms: float
    p99_ms: float
    operators: tuple[OperatorTime, ...]
    note: str | None = None


class MeasureRequest(_Message):
    """`command/measure`: time the variants of a package in turns, in sandboxed workers, and keep nothing of it.

    Attributes:
        source: `upload:<SHA-256 of the file>`, an `https://` URL, or a `file:///` URL of a file on the device.
        threads: Threads of each variant.
        percentile: The percentile whose interval ends the measurement.
        precision: The half width of that interval, as a fraction of the percentile, with which the device may stop.
        max_seconds: Most time that the device spends in inferences of each variant.
        max_wait_s: Most time that it waits altogether: for requests, for a contract at risk, while it is throttled or
            measures something else.
        layers: Whether each operator is timed too, where the engine has a profiler.
    """

    source: Source
    threads: Annotated[int, Field(ge=1, le=64)] = 1
    percentile: Literal["p50", "p99"] = "p50"
    precision: Annotated[float, Field(gt=0, le=1)] = 0.02
    max_seconds: Annotated[float, Field(gt=0, le=600)] = 10.0
    max_wait_s: Annotated[float, Field(ge=0, le=3600)] = 120.0
    layers: bool = False


class CandidateTiming(_Message):
    """What `measure` found of one variant.

    Attributes:
        variant: Its id in the package.
        engine: The engine that ran it.
        engine_version: Its version; absent where the variant did not run.
        runs: Inferences that count.
        mean_ms: Their mean.
        p50_ms: Their median.
        p99_ms: Their 99th percentile.
        p50_interval: The interval of the median.
        p99_interval: The interval of the 99th percentile.
        is_precise: Whether the interval asked for is as narrow as asked for.
        memory_bytes: The most memory that the process of the variant has held.
        operators: The time of each operator, in the order they ran.
        error: Why the variant did not run; the times are absent then.
        code: Its stable code.
    """

    variant: Name
    engine: str
    engine_version: str | None = None
    runs: Annotated[int, Field(ge=0)] = 0
    mean_ms: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    p50_interval: ConfidenceInterval | None = None
    p99_interval: ConfidenceInterval | None = None
    is_precise: bool = False
    memory_bytes: int | None = None
    operators: tuple[OperatorTime, ...] | None = None
    error: str | None = None
    code: str | None = None


class MeasureReport(_Message):
    """The answer to `measure`.

    Attributes:
        board: The name of the board, or of its processor.
        threads: Threads that each variant had.
        variants: In the order of the package.
        measured_s: Time in turns that count.
        waited_s: Time spent waiting, and in turns that do not count because a request was answered meanwhile.
        waits: The same by reason, in seconds: `requests`, `contract`, `throttled`, `measuring`.
        temperature_celsius: Of the processor, at the end.
        throttled: Whether the firmware slows the processor down at the end.
        throttling: The firmware's flags that are set, as in `DeviceTelemetry`.
    """

    board: str
    threads: int
    variants: tuple[CandidateTiming, ...]
    measured_s: float
    waited_s: float
    waits: dict[str, float] = Field(default_factory=dict)
    temperature_celsius: float | None = None
    throttled: bool | None = None
    throttling: tuple[str, ...] | None = None
