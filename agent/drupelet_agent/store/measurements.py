"""The measurements of a package on disk; the running agent itself never reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from drupelet_agent.store.records import StoredRecord
from drupelet_shared.files import write_atomically
from drupelet_shared.names import Name


class KeptMeasurement(StoredRecord):
    """The measurement of one variant on this device with one number of threads and instances."""

    variant: Name
    threads: Annotated[int, Field(gt=0)]
    instances: Annotated[int, Field(gt=0)]
    p50_ms: float
    p95_ms: float
    p99_ms: float
    mean_ms: float
    runs: int
    p50_interval_ms: tuple[float, float | None] | None = None
    p99_interval_ms: tuple[float, float | None] | None = None
    throughput_per_s: float
    footprint_bytes: int


class KeptMeasurements(StoredRecord):
    """The content of `measurements/<digest>.json`: by conditions, the latest last."""

    by_conditions: dict[str, tuple[KeptMeasurement, ...]] = Field(default_factory=dict)


def read_measurements(path: Path) -> KeptMeasurements:
    """Return the measurements in a file; none if it is absent or damaged, since they can be repeated."""
    try:
        return KeptMeasurements.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return KeptMeasurements()


def write_measurements(path: Path, kept: KeptMeasurements) -> None:
    """Replace the measurements in a file."""
    write_atomically(path, kept.model_dump_json().encode())
