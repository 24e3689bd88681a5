"""What was measured of a package, on disk; the running agent itself never needs it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from drupelet_shared.files import write_atomically
from drupelet_shared.names import Name


class _Record(BaseModel):
    # What a newer agent wrote is read as far as this one understands it.
    model_config = ConfigDict(frozen=True, extra="ignore")


class KeptMeasurement(_Record):
    """What one variant did on this device with one number of threads and instances."""

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


class KeptMeasurements(_Record):
    """The content of `measurements/<digest>.json`: by conditions, the latest last."""

    by_conditions: dict[str, tuple[KeptMeasurement, ...]] = Field(default_factory=dict)


def read_measurements(path: Path) -> KeptMeasurements:
    """What was measured; nothing where nothing is kept or it is damaged, for it can be had again."""
    try:
        return KeptMeasurements.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return KeptMeasurements()


def write_measurements(path: Path, kept: KeptMeasurements) -> None:
    """Write what was measured."""
    write_atomically(path, kept.model_dump_json().encode())
