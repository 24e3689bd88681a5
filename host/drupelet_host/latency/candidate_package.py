"""Packs models for a board to measure: a package that no device installs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from drupelet_host.latency.engines import THREADS, engine_of
from drupelet_host.packaging.builder import PackageDescription, build_package
from drupelet_shared.contract.measuring import MEASUREMENT_TASK
from drupelet_shared.engines.base import Tensors
from drupelet_shared.engines.files import model_files, model_size_bytes
from drupelet_shared.engines.registry import load_engine
from drupelet_shared.package.golden import record_golden
from drupelet_shared.package.manifest import Golden, Latency, Target, Variant

_NAME, _VERSION = "drupelet-measurement", "1"
# The same models give the same bytes, so that an interrupted upload goes on where it ended.
_CREATED = datetime(2000, 1, 1, tzinfo=UTC)
# What an engine holds without a model, and a model's share beyond its file: the device limits each variant to its part
# of the memory that is free, in proportion to these.
_ENGINE_BYTES, _MEMORY_FACTOR = 60 * 2**20, 4


@dataclass(frozen=True, slots=True)
class CandidatePacker:
    """Packs models for one kind of device.

    Attributes:
        target: The device.
        signing_key: The key that signs; None leaves packages unsigned, which a device accepts if it checks none.
    """

    target: Target
    signing_key: ec.EllipticCurvePrivateKey | None

    def pack(self, models: Mapping[str, Path], *, feed: Tensors, folder: Path) -> Path:
        """Write one package with each model as a variant.

        Args:
            models: The model files by name, at least one.
            feed: The inputs of one inference, with which each is measured.
            folder: Where the package is written.

        Returns:
            The package file.

        Raises:
            EngineError: A model does not load or run here.
            PackageError: The models are more than a package holds.
        """
        sessions = {name: load_engine(engine_of(path)).load(path, threads=THREADS) for name, path in models.items()}
        first = next(iter(sessions.values()))
        files: dict[str, bytes | Path] = {}
        for name, path in models.items():
            files |= {_model_path(name, file): file for file in model_files(path)}
            files[_golden_path(name)] = record_golden(sessions[name], [dict(feed)]).to_bytes()
        description = PackageDescription(
            name=_NAME,
            version=_VERSION,
            release=1,
            created=_CREATED,
            task=MEASUREMENT_TASK,
            inputs=first.inputs,
            outputs=first.outputs,
            target=self.target,
            variants=tuple(_variant(name, path) for name, path in models.items()),
        )
        return build_package(folder, description, files, signing_key=self.signing_key).path


def _variant(name: str, path: Path) -> Variant:
    size_bytes = model_size_bytes(path)
    return Variant(
        id=name,
        engine=engine_of(path),
        engine_min_version="0",
        precision=MEASUREMENT_TASK,
        path=_model_path(name, path),
        weights_path=next((_model_path(name, file) for file in model_files(path)[1:]), None),
        size_bytes=size_bytes,
        peak_memory_bytes=_ENGINE_BYTES + _MEMORY_FACTOR * size_bytes,
        metrics={},
        latency=Latency(p50_ms=0.0, p99_ms=0.0, threads=THREADS, machine="not measured"),
        golden=Golden(path=_golden_path(name), samples=1, tolerance=1.0),
    )


def _model_path(name: str, file: Path) -> str:
    return f"variants/{name}/model{file.suffix}"


def _golden_path(name: str) -> str:
    return f"golden/{name}.npz"
