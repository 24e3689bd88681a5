"""What a model costs the agent's worker: the size of its files, the time to load them, and resident memory."""

from __future__ import annotations

import statistics
import tempfile
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from benchmarks.engines.models import Case, Model
from benchmarks.memory import read_kib
from drupelet_agent.serving.workers.protocol import Benchmark, Measured, Ready, WorkerSpec
from drupelet_agent.serving.workers.worker_process import WorkerProcess, expect
from drupelet_host.packaging.builder import PackageDescription, build_package
from drupelet_shared.engines.base import Session
from drupelet_shared.engines.files import model_files, model_size_bytes
from drupelet_shared.engines.registry import ENGINES, load_engine
from drupelet_shared.package.golden import record_golden
from drupelet_shared.package.manifest import Golden, Latency, Target, Variant
from drupelet_shared.package.reading import unpack_package

_THREADS = 2
_INFERENCES = 20
_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class WorkerCost:
    """One model in a worker of the agent.

    Attributes:
        network: Of `NETWORKS`.
        runtime: What runs it.
        precision: Of the file.
        threads: Of one inference.
        size_bytes: Of its files.
        load_ms: The median over several workers, each of which loads it once.
        fastest_load_ms: The lowest of them.
        slowest_load_ms: The highest of them.
        resident_bytes: The median of the workers' resident memory after some inferences.
        anonymous_bytes: Of it, the process's own; the rest are pages of files, which processes share.
    """

    network: str
    runtime: str
    precision: str
    threads: int
    size_bytes: int
    load_ms: float
    fastest_load_ms: float
    slowest_load_ms: float
    resident_bytes: int
    anonymous_bytes: int


def measure_workers(case: Case, *, starts: int) -> list[WorkerCost]:
    """Start each engine's worker in turns, so that what slows the machine down for a while slows all of them down.

    Args:
        case: The models; those of runtimes that are not the product's are left out.
        starts: How many workers each model gets, one after the other.

    Raises:
        WorkerError: A worker cannot load its model.
    """
    models = [model for model in case.models if model.runtime in ENGINES]
    with tempfile.TemporaryDirectory() as name:
        folders = [_unpack(model, case, Path(name) / str(number)) for number, model in enumerate(models)]
        rounds = [[_start(model, folder) for model, folder in zip(models, folders, strict=True)] for _ in range(starts)]
    return [_summarize(model, found) for model, found in zip(models, zip(*rounds, strict=True), strict=True)]


@dataclass(frozen=True, slots=True)
class _Start:
    load_ms: float
    resident_bytes: int
    anonymous_bytes: int


def _start(model: Model, folder: Path) -> _Start:
    spec = WorkerSpec(
        package_folder=str(folder),
        variant=_variant_id(model),
        threads=_THREADS,
        memory_limit_bytes=0,
        slot_bytes=4096,
    )
    with closing(WorkerProcess(spec)) as worker:
        ready = expect(worker, Ready, timeout_s=_TIMEOUT_S)
        worker.send(Benchmark(warmup=0, runs=_INFERENCES, max_seconds=_TIMEOUT_S))
        expect(worker, Measured, timeout_s=2 * _TIMEOUT_S)
        sizes = read_kib(worker.pid, "status")
    return _Start(ready.load_ms, sizes["VmRSS"], sizes["RssAnon"])


def _summarize(model: Model, starts: tuple[_Start, ...]) -> WorkerCost:
    loads = [start.load_ms for start in starts]
    return WorkerCost(
        network=model.network,
        runtime=model.runtime,
        precision=model.precision,
        threads=_THREADS,
        size_bytes=model_size_bytes(model.path),
        load_ms=round(statistics.median(loads), 1),
        fastest_load_ms=round(min(loads), 1),
        slowest_load_ms=round(max(loads), 1),
        resident_bytes=round(statistics.median(start.resident_bytes for start in starts)),
        anonymous_bytes=round(statistics.median(start.anonymous_bytes for start in starts)),
    )


def _variant_id(model: Model) -> str:
    return f"{model.runtime}-{model.precision.replace(' ', '-')}"


def _unpack(model: Model, case: Case, folder: Path) -> Path:
    """An unsigned package with the model alone, unpacked."""
    session = load_engine(model.runtime).load(model.path, threads=1)
    (taken,) = session.inputs
    golden = record_golden(session, [{taken.name: np.load(case.image)}])
    variant = _describe(model)
    files: dict[str, bytes | Path] = {variant.golden.path: golden.to_bytes()}
    files |= dict(zip(variant.files, model_files(model.path), strict=True))
    built = build_package(folder, _describe_package(session, variant), files)
    return unpack_package(built.path, folder / "unpacked", trusted_keys=None).folder


def _describe(model: Model) -> Variant:
    name = _variant_id(model)
    first, *rest = (f"variants/{name}/{file.name}" for file in model_files(model.path))
    return Variant(
        id=name,
        engine=model.runtime,
        engine_min_version="1.0",
        precision=name,
        path=first,
        weights_path=rest[0] if rest else None,
        size_bytes=model_size_bytes(model.path),
        peak_memory_bytes=0,
        metrics={},
        latency=Latency(p50_ms=1.0, p99_ms=1.0, threads=1, machine="not measured"),
        golden=Golden(path=f"golden/{name}.npz", samples=1, tolerance=0.05),
    )


def _describe_package(session: Session, variant: Variant) -> PackageDescription:
    return PackageDescription(
        name="measured",
        version="1.0.0",
        release=1,
        created=datetime(2026, 1, 1, tzinfo=UTC),
        task="image-classification",
        inputs=session.inputs,
        outputs=session.outputs,
        target=Target(device="raspberry_pi_4", architecture="aarch64"),
        variants=(variant,),
    )
