"""The content of `report.json`."""

from __future__ import annotations

import json
from datetime import datetime

from pydantic import BaseModel, ConfigDict

from drupelet_shared.package.manifest import LineageRecord


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelRow(_Model):
    """One model file in its engine, measured on the host; the peak memory is None where it was not measured."""

    name: str
    engine: str
    metric: float
    size_bytes: int
    p50_ms: float
    p99_ms: float
    peak_memory_bytes: int | None


class CheckRow(_Model):
    """One constraint against one variant."""

    constraint: str
    variant: str
    wanted: float
    found: float
    met: bool


class CurveRow(_Model):
    """One group's sensitivity: (pruning ratio, metric) from ratio 0 up, and the mean metric kept (1 costs nothing)."""

    group: str
    robustness: float
    points: tuple[tuple[float, float], ...]


class GroupRow(_Model):
    """What pruning did to one group."""

    group: str
    channels_before: int
    channels_after: int

    @property
    def ratio(self) -> float:
        """The fraction of channels that was removed."""
        return 1 - self.channels_after / self.channels_before


class UnprunableRow(_Model):
    """A layer whose channels cannot be removed, and why."""

    layer: str
    reason: str


class StepRow(_Model):
    """One step of pruning; `fraction` 1 is the whole plan."""

    fraction: float
    parameters: int
    metric: float
    kept: bool


class CandidateRow(_Model):
    """One variant of one candidate of a search; candidate 0 is the unpruned model, and one row is the chosen one."""

    candidate: int
    variant: str
    metric: float
    size_bytes: int
    p50_ms: float
    parameters: int
    macs: int
    kept: bool
    chosen: bool = False
    reason: str


class SelectionRow(_Model):
    """What chose, where other samples proved the result; `lowest` is what a step of pruning had to keep on it."""

    samples: int
    lowest: float | None


class CalibrationRow(_Model):
    """One way to find the ranges of int8, and the report's metric of the model that was quantized so."""

    method: str
    score: float
    chosen: bool
    reason: str = ""


class PrecisionRow(_Model):
    """The precision of one layer in the int8 variant.

    Attributes:
        layer: Its name.
        precision: What it computes in, such as "int8" or "float".
        loss: What the metric loses when this layer alone is int8; None where it was not measured.
        gain: How many times less work it is in int8 on the device; None where that is not known.
        float_ms: The layer's time in float on the report's machine; None where it was not measured.
        int8_ms: The same in int8.
        reason: Why it got this precision.
    """

    layer: str
    precision: str
    loss: float | None = None
    gain: float | None = None
    float_ms: float | None = None
    int8_ms: float | None = None
    reason: str = ""


class Report(_Model):
    """Everything a person needs to judge a compile; times are those of `machine`, not of the device.

    Attributes:
        samples: How many samples the metric of originals and variants was measured on.
        selection: What chose, where that is not what `samples` counts; frontier, steps, sensitivity, calibration and
            precisions are measured on it.
        macs_before: Multiply-accumulates of one inference; None where only a training framework could count them.
        macs_after: The same of the compiled model.
        originals: The model as it came, in each engine that it was measured in.
        packaged: The variants in the package, best first.
        notes: What a reader must know to not misread the numbers, one sentence each.
    """

    name: str
    version: str
    release: int
    created: datetime
    task: str
    metric: str
    samples: int
    selection: SelectionRow | None = None
    device: str
    machine: str
    threads: int
    parameters_before: int
    parameters_after: int
    macs_before: int | None
    macs_after: int | None
    originals: tuple[ModelRow, ...]
    variants: tuple[ModelRow, ...]
    packaged: tuple[str, ...]
    notes: tuple[str, ...] = ()
    checks: tuple[CheckRow, ...]
    sensitivity: tuple[CurveRow, ...]
    groups: tuple[GroupRow, ...]
    unprunable: tuple[UnprunableRow, ...] = ()
    steps: tuple[StepRow, ...]
    frontier: tuple[CandidateRow, ...]
    calibration: tuple[CalibrationRow, ...] = ()
    precisions: tuple[PrecisionRow, ...] = ()
    lineage: tuple[LineageRecord, ...]

    @property
    def best(self) -> ModelRow:
        """The variant that the package ranks first."""
        return next(row for row in self.variants if row.name == self.packaged[0])

    @property
    def original(self) -> ModelRow:
        """What every variant's metric and size are compared with."""
        return self.originals[0]

    def original_of(self, row: ModelRow) -> ModelRow:
        """Return the reference for a row's latency and memory: the original in the same engine, if it ran there."""
        return next((original for original in self.originals if original.engine == row.engine), self.original)

    def limit(self, constraint: str) -> float | None:
        """Return what was asked of every variant, in the unit of `CheckRow.wanted`; None where nothing was."""
        return next((check.wanted for check in self.checks if check.constraint == constraint), None)

    def to_bytes(self) -> bytes:
        """Return the JSON document, keys sorted."""
        return (json.dumps(self.model_dump(mode="json"), indent=2, sort_keys=True) + "\n").encode()
