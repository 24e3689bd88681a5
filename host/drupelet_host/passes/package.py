"""The package pass: variants, golden vectors, labels and report in one signed file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import ClassVar, Self

from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import BaseModel, ConfigDict

from drupelet_host.creation_time import creation_time
from drupelet_host.evaluation.machine import describe_machine
from drupelet_host.evaluation.measurement import THREADS, Measurement, engine_of
from drupelet_host.evaluation.metrics import METRIC
from drupelet_host.packaging.builder import PackageDescription, build_package
from drupelet_host.packaging.keys import load_private_key
from drupelet_host.passes.export_litert import LITERT_FLOAT_VARIANT
from drupelet_host.passes.export_onnx import FLOAT_VARIANT
from drupelet_host.passes.quantize_litert import LITERT_INT8_VARIANT
from drupelet_host.passes.quantize_static import INT8_VARIANT
from drupelet_host.pipeline import PassResult
from drupelet_host.progress import Observer
from drupelet_host.recipe import INPUT_NAME, OUTPUT_NAME, Recipe
from drupelet_host.report.build import build_report
from drupelet_host.report.html import render_html
from drupelet_host.state import CompileState
from drupelet_host.target import TargetDevice, find_target
from drupelet_shared.engines.base import Session
from drupelet_shared.engines.registry import load_engine
from drupelet_shared.files import write_atomically
from drupelet_shared.golden import record_golden
from drupelet_shared.manifest import LABELS_PATH, Classification, Golden, Latency, Target, Variant

_GOLDEN_SAMPLES = 4
_TOP_K = 5
_FLOAT, _INT8 = "fp32", "static-wi8-ai8"
_PRECISION = {
    FLOAT_VARIANT: _FLOAT,
    INT8_VARIANT: _INT8,
    LITERT_FLOAT_VARIANT: _FLOAT,
    LITERT_INT8_VARIANT: _INT8,
}
# Float kernels of two processors differ in the last bits. In int8 a value on the edge of a step may round either way,
# and a few such steps add up by the last layer.
_GOLDEN_TOLERANCE = {_FLOAT: 1e-3, _INT8: 0.05}


class PackageConfig(BaseModel):
    """What the package is called."""

    model_config = ConfigDict(frozen=True)

    name: str
    version: str
    release: int


@dataclass(frozen=True, slots=True)
class PackagePass:
    """Writes `NAME-VERSION.drupe`, and the report beside it."""

    name: ClassVar[str] = "package"
    config: PackageConfig
    recipe: Recipe
    target: TargetDevice
    signing_key: ec.EllipticCurvePrivateKey | None

    @classmethod
    def from_recipe(cls, recipe: Recipe) -> Self:
        """Take [model], [output] and the device; a broken key is found before the work starts."""
        model, key = recipe.model, recipe.output.key
        config = PackageConfig(name=model.name, version=model.version, release=model.release)
        return cls(config, recipe, find_target(recipe.target.device), None if key is None else load_private_key(key))

    def run(self, state: CompileState, *, observer: Observer) -> PassResult:
        """Build and sign."""
        sessions = {name: _load(state.artifacts[name]) for name in state.ranking}
        created = creation_time()
        report = build_report(state, self.recipe, created=created)
        report_json, report_html = report.to_bytes(), render_html(report).encode()
        files: dict[str, bytes | Path] = {"report.json": report_json, "report.html": report_html}
        files |= {_model_path(name, state.artifacts[name]): state.artifacts[name] for name in state.ranking}
        files |= {_golden_path(name): self._golden(session, state) for name, session in sessions.items()}
        if self.recipe.model.labels:
            files[LABELS_PATH] = "".join(f"{label}\n" for label in self.recipe.model.labels).encode()
        built = build_package(
            self.recipe.output.folder,
            self._describe(state, next(iter(sessions.values())), created),
            files,
            signing_key=self.signing_key,
        )
        for suffix, content in ((".report.json", report_json), (".report.html", report_html)):
            write_atomically(built.path.with_name(built.path.stem + suffix), content)
        observer.decided("signed the package" if built.signed_by else "wrote the package without a signature: no key")
        return PassResult(replace(state, package=built.path), {"size_bytes": float(built.path.stat().st_size)})

    def _describe(self, state: CompileState, session: Session, created: datetime) -> PackageDescription:
        top_k = min(_TOP_K, session.outputs[0].shape[-1])
        return PackageDescription(
            name=self.config.name,
            version=self.config.version,
            release=self.config.release,
            created=created,
            task=self.recipe.model.task,
            inputs=session.inputs,
            outputs=session.outputs,
            target=Target(device=self.target.name, architecture=self.target.architecture),
            variants=tuple(self._variant(name, state.measurements[name]) for name in state.ranking),
            preprocessing=self.recipe.image,
            postprocessing=Classification(output=OUTPUT_NAME, top_k=top_k),
            lineage=state.lineage,
        )

    def _variant(self, name: str, measured: Measurement) -> Variant:
        timing, engine = measured.timing, engine_of(measured.path)
        return Variant(
            id=name,
            engine=engine,
            engine_min_version=self.target.engine_min_versions[engine],
            precision=_PRECISION[name],
            path=_model_path(name, measured.path),
            size_bytes=measured.size_bytes,
            peak_memory_bytes=measured.peak_memory_bytes,
            metrics={METRIC: measured.metric},
            latency=Latency(p50_ms=timing.p50_ms, p99_ms=timing.p99_ms, threads=THREADS, machine=describe_machine()),
            golden=Golden(
                path=_golden_path(name), samples=_GOLDEN_SAMPLES, tolerance=_GOLDEN_TOLERANCE[_PRECISION[name]]
            ),
        )

    def _golden(self, session: Session, state: CompileState) -> bytes:
        # Spread over the data: the first few samples of sorted data are all of one class.
        count = len(state.validation)
        chosen = [position * count // _GOLDEN_SAMPLES for position in range(_GOLDEN_SAMPLES)]
        samples = [{INPUT_NAME: state.validation.inputs[index : index + 1]} for index in chosen]
        return record_golden(session, samples).to_bytes()


def _load(path: Path) -> Session:
    return load_engine(engine_of(path)).load(path, threads=THREADS)


def _model_path(variant: str, file: Path) -> str:
    return f"variants/{variant}/model{file.suffix}"


def _golden_path(variant: str) -> str:
    return f"golden/{variant}.npz"
