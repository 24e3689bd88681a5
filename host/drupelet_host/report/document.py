"""The content of `report.json`."""

from __future__ import annotations

import json
from datetime import datetime

from pydantic import BaseModel, ConfigDict

from drupelet_shared.package.manifest import LineageRecord


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelledLatency(_Model):
    """What a model takes on the target by a model of its processor: nothing of it was measured.

    Attributes:
        p50_ms: The median at one thread.
        low_ms: The lower end of the range in which a board's median is expected.
        high_ms: The upper end.
        source: The target and the range, in words.
    """

    p50_ms: float
    low_ms: float
    high_ms: float
    source: str


class ModelRow(_Model):
    """One model file, measured in its engine on the host or on boards.

    Attributes:
        p50_ms: The median latency as it was measured.
        p99_ms: The 99th percentile as it was measured.
        latency_source: Where they were measured.
        modelled: What it takes on the target by a model of its processor; None where there is none.
        peak_memory_bytes: None where it was not measured.
    """

    name: str
    engine: str
    metric: float
    size_bytes: int
    p50_ms: float
    p99_ms: float | None
    latency_source: str = ""
    modelled: ModelledLatency | None = None
    peak_memory_bytes: int | None


class CheckRow(_Model):
    """One constraint checked on one variant: `limit` and the variant's `value`."""

    constraint: str
    variant: str
    limit: float
    value: float
    met: bool
    unit: str = ""


class DroppedRow(_Model):
    """A variant that is not in the package, and why."""

    variant: str
    reason: str


class CurveRow(_Model):
    """One group's sensitivity: (pruning ratio, metric) by increasing ratio; robustness 1 means no loss at any ratio."""

    group: str
    robustness: float
    points: tuple[tuple[float, float], ...]


class GroupRow(_Model):
    """The channels of one group before and after pruning."""

    group: str
    channels_before: int
    channels_after: int

    @property
    def ratio(self) -> float:
        """The fraction of channels that were removed."""
        return 1 - self.channels_after / self.channels_before


class UnprunableRow(_Model):
    """A layer whose channels cannot be removed, with the reason."""

    layer: str
    reason: str


class StepRow(_Model):
    """One step of progressive pruning; `fraction` is the share of the planned pruning, 1 is all of it."""

    fraction: float
    parameters: int
    metric: float
    kept: bool


class CandidateRow(_Model):
    """One variant of one candidate of a search. Candidate 0 is the unpruned model; exactly one row is chosen."""

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
    """The validation samples that decisions were made on; `lowest` is the metric a pruning step had to keep there."""

    samples: int
    lowest: float | None


class CalibrationRow(_Model):
    """One calibration method for int8, with the metric of the model that was quantized by it."""

    method: str
    score: float
    chosen: bool
    reason: str = ""


class PrecisionRow(_Model):
    """The precision of one layer in the int8 variant.

    Attributes:
        layer: The layer's name.
        precision: The layer's data type, such as "int8" or "float".
        loss: The drop of the metric when only this layer is int8; None where it was not measured.
        gain: The factor by which int8 makes the layer faster; None where it is unknown.
        float_ms: The layer's time in float, by `Report.precision_source`; None where it is unknown.
        int8_ms: The layer's time in int8, by `Report.precision_source`; None where it is unknown.
        reason: Why the layer has this precision.
    """

    layer: str
    precision: str
    loss: float | None = None
    gain: float | None = None
    float_ms: float | None = None
    int8_ms: float | None = None
    reason: str = ""


class Report(_Model):
    """The results of a compile. Times of model rows were measured on `machine` or on boards, as each row states.

    Attributes:
        latency_place: Where the latency comes from that decided, and that candidates and constraints state.
        is_modelled: Whether that is a model of the target's processor.
        samples: How many samples the metric of originals and variants was measured on.
        selection: The validation samples, where decisions were made on other samples than the final measurement;
            frontier, steps, sensitivity, calibration and precisions were measured on them.
        macs_before: Multiply-accumulates of one inference; None where only a training framework could count them.
        macs_after: Multiply-accumulates of one inference of the compiled model.
        originals: The unchanged model, once for each engine it was measured in.
        packaged: The variants in the package, best first.
        dropped: The variants that were not made or not kept.
        notes: Caveats about the numbers, one sentence each.
        precision_source: Where the times of single layers come from.
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
    latency_place: str = ""
    is_modelled: bool = False
    threads: int
    parameters_before: int
    parameters_after: int
    macs_before: int | None
    macs_after: int | None
    originals: tuple[ModelRow, ...]
    variants: tuple[ModelRow, ...]
    packaged: tuple[str, ...]
    notes: tuple[str, ...] = ()
    dropped: tuple[DroppedRow, ...] = ()
    checks: tuple[CheckRow, ...]
    sensitivity: tuple[CurveRow, ...]
    groups: tuple[GroupRow, ...]
    unprunable: tuple[UnprunableRow, ...] = ()
    steps: tuple[StepRow, ...]
    frontier: tuple[CandidateRow, ...]
    calibration: tuple[CalibrationRow, ...] = ()
    precisions: tuple[PrecisionRow, ...] = ()
    precision_source: str = ""
    lineage: tuple[LineageRecord, ...]

    @property
    def best(self) -> ModelRow:
        """The variant that the package ranks first."""
        return next(row for row in self.variants if row.name == self.packaged[0])

    @property
    def original(self) -> ModelRow:
        """The reference for every variant's metric and size."""
        return self.originals[0]

    @property
    def place(self) -> str:
        """Where the latency of the variants comes from: this machine, boards, or what a model stands for."""
        return self.latency_place or self.machine

    @property
    def measured_place(self) -> str:
        """Where the times in the rows of models were measured."""
        return self.machine if self.is_modelled or not self.latency_place else self.latency_place

    @property
    def candidate_place(self) -> str:
        """Where the times of candidates come from: sources that measure are only asked where a constraint needs it."""
        return self.machine if self.limit("max_latency") is None and not self.is_modelled else self.place

    @property
    def limit_ms(self) -> float | None:
        """The limit on the latency of the best variant in milliseconds; None without that constraint."""
        check = next((check for check in self.checks if check.constraint == "max_latency"), None)
        if check is None or check.unit == "ms":
            return None if check is None else check.limit
        return check.limit * self.decisive_ms(self.original_of(self.best))

    def decisive_ms(self, row: ModelRow) -> float:
        """Return the median that decided on a row: the modelled one where a model of the processor is the source."""
        return row.modelled.p50_ms if self.is_modelled and row.modelled is not None else row.p50_ms

    def original_of(self, row: ModelRow) -> ModelRow:
        """Return the reference for a row's latency and memory: the original in the same engine, if it ran there."""
        return next((original for original in self.originals if original.engine == row.engine), self.original)

    def limit(self, constraint: str) -> float | None:
        """Return the limit that a constraint sets, in the unit of `CheckRow.limit`; None without that constraint."""
        return next((check.limit for check in self.checks if check.constraint == constraint), None)

    def to_bytes(self) -> bytes:
        """Return the JSON document, keys sorted."""
        return (json.dumps(self.model_dump(mode="json"), indent=2, sort_keys=True) + "\n").encode()
