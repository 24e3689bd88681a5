"""The content of `report.json`."""

from __future__ import annotations

import json
from datetime import datetime

from pydantic import BaseModel, ConfigDict

from drupelet_shared.manifest import LineageRecord


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelRow(_Model):
    """One model file, measured on the host."""

    name: str
    metric: float
    size_bytes: int
    p50_ms: float
    p99_ms: float
    peak_memory_bytes: int


class CheckRow(_Model):
    """One constraint against one variant."""

    constraint: str
    variant: str
    wanted: float
    found: float
    met: bool


class CurveRow(_Model):
    """One group's sensitivity: (pruning ratio, metric) from ratio 0 up."""

    group: str
    points: tuple[tuple[float, float], ...]


class GroupRow(_Model):
    """What pruning did to one group."""

    group: str
    channels_before: int
    channels_after: int


class StepRow(_Model):
    """One step of pruning; `fraction` 1 is the whole plan."""

    fraction: float
    parameters: int
    metric: float
    kept: bool


class CandidateRow(_Model):
    """One variant of one candidate of a search; candidate 0 is the unpruned model."""

    candidate: int
    variant: str
    metric: float
    size_bytes: int
    p50_ms: float
    parameters: int
    macs: int
    kept: bool
    reason: str


class Report(_Model):
    """Everything a person needs to judge a compile; times are those of `machine`, not of the device."""

    name: str
    version: str
    release: int
    created: datetime
    task: str
    metric: str
    device: str
    machine: str
    threads: int
    parameters_before: int
    parameters_after: int
    macs_before: int
    macs_after: int
    original: ModelRow
    variants: tuple[ModelRow, ...]
    packaged: tuple[str, ...]
    checks: tuple[CheckRow, ...]
    sensitivity: tuple[CurveRow, ...]
    groups: tuple[GroupRow, ...]
    steps: tuple[StepRow, ...]
    frontier: tuple[CandidateRow, ...]
    lineage: tuple[LineageRecord, ...]

    def to_bytes(self) -> bytes:
        """The JSON document, keys sorted."""
        return (json.dumps(self.model_dump(mode="json"), indent=2, sort_keys=True) + "\n").encode()
