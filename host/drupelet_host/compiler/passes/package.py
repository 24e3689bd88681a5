"""The package pass: variants, golden vectors, labels and report in one signed file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import ClassVar, Self

from cryptography.hazmat.primitives.asymmetric import ec

from drupelet_host.compiler.configuration import PassConfig
from drupelet_host.compiler.pass_protocol import PassResult
from drupelet_host.compiler.reporting import build_report
from drupelet_host.compiler.state import CompileState
from drupelet_host.evaluation.measurement import Measurement
from drupelet_host.latency.engines import THREADS, engine_of
from drupelet_host.latency.machine import describe_place
from drupelet_host.packaging.builder import PackageDescription, build_package, report_path
from drupelet_host.packaging.creation_time import creation_time
from drupelet_host.packaging.engine_versions import find_min_version
from drupelet_host.packaging.golden_samples import record_samples
from drupelet_host.packaging.keys import load_private_key
from drupelet_host.progress.observer import Observer
from drupelet_host.recipe.postprocessing import PRIORS_PATH, resolve_postprocessing
from drupelet_host.recipe.schema import Recipe
from drupelet_host.recipe.target import TargetDevice, find_target
from drupelet_host.report.html import render_html
from drupelet_host.selection.variants import KINDS
from drupelet_shared.engines.base import Session
from drupelet_shared.engines.files import model_files
from drupelet_shared.engines.registry import load_engine
from drupelet_shared.files import write_atomically
from drupelet_shared.package.manifest import (
    LABELS_PATH,
    EngineName,
    Golden,
    ImagePreprocessing,
    Latency,
    Target,
    Variant,
)
from drupelet_shared.tensors import TensorSpec


class PackageConfig(PassConfig):
    """The name, version and place of the package.

    Attributes:
        name: The name of the model.
        version: Its version.
        release: Its release.
    """

    name: str
    version: str
    release: int


@dataclass(frozen=True, slots=True)
class PackagePass:
    """Writes `NAME-VERSION.drupe`, and the report beside it.

    Attributes:
        config: The identity of the package.
        recipe: The recipe, for the report.
        target: The device that the package is for.
        signing_key: The key that signs; None for an unsigned package.
    """

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
        files |= {
            _model_path(name, file): file for name in state.ranking for file in model_files(state.artifacts[name])
        }
        golden = {name: record_samples(session, state.samples.feeds) for name, session in sessions.items()}
        files |= {_golden_path(name): vectors.to_bytes() for name, vectors in golden.items()}
        if self.recipe.model.labels:
            files[LABELS_PATH] = "".join(f"{label}\n" for label in self.recipe.model.labels).encode()
        if self.recipe.detection is not None and self.recipe.detection.priors is not None:
            files[PRIORS_PATH] = self.recipe.detection.priors
        variants = tuple(
            self._variant(name, state.measurements[name], metric=state.metric.name, samples=golden[name].samples)
            for name in state.ranking
        )
        description = self._describe(state, next(iter(sessions.values())), variants, created)
        built = build_package(self.recipe.output.folder, description, files, signing_key=self.signing_key)
        for suffix, content in ((".json", report_json), (".html", report_html)):
            write_atomically(report_path(built.path, suffix), content)
        observer.decided("signed the package" if built.signed_by else "wrote the package without a signature: no key")
        return PassResult(replace(state, package=built.path), {"size_bytes": float(built.path.stat().st_size)})

    def _describe(
        self, state: CompileState, session: Session, variants: tuple[Variant, ...], created: datetime
    ) -> PackageDescription:
        outputs = _in_order(session.outputs, state)
        return PackageDescription(
            name=self.config.name,
            version=self.config.version,
            release=self.config.release,
            created=created,
            task=self.recipe.model.task,
            inputs=session.inputs,
            outputs=outputs,
            target=Target(device=self.target.name, architecture=self.target.architecture),
            variants=variants,
            preprocessing=self._preprocessing(session),
            postprocessing=resolve_postprocessing(self.recipe, {spec.name: spec.shape for spec in outputs}),
            lineage=state.lineage,
        )

    def _preprocessing(self, session: Session) -> ImagePreprocessing | None:
        """With the input's own name, which a file gives it."""
        image = self.recipe.image
        if image is None or len(session.inputs) > 1:
            return image
        return image.model_copy(update={"input": session.inputs[0].name})

    def _find_min_version(self, engine: EngineName, path: Path) -> str:
        oldest = self.target.engine_min_versions[engine]
        return find_min_version(path, oldest=oldest) if engine == "onnxruntime" else oldest

    def _variant(self, name: str, measured: Measurement, *, metric: str, samples: int) -> Variant:
        latency, engine, kind = measured.measured_latency, engine_of(measured.path), KINDS[name]
        assert measured.peak_memory_bytes is not None, "the evaluate_variants pass measures it"
        return Variant(
            id=name,
            engine=engine,
            engine_min_version=self._find_min_version(engine, measured.path),
            precision=kind.precision,
            path=_model_path(name, measured.path),
            weights_path=next((_model_path(name, file) for file in model_files(measured.path)[1:]), None),
            size_bytes=measured.size_bytes,
            peak_memory_bytes=measured.peak_memory_bytes,
            metrics={metric: measured.metric},
            latency=Latency(
                p50_ms=latency.p50_ms,
                p99_ms=latency.p50_ms if latency.p99_ms is None else latency.p99_ms,
                threads=THREADS,
                machine=describe_place(latency.source),
            ),
            golden=Golden(path=_golden_path(name), samples=samples, tolerance=kind.golden_tolerance),
        )


def _load(path: Path) -> Session:
    return load_engine(engine_of(path)).load(path, threads=THREADS)


def _in_order(specs: Sequence[TensorSpec], state: CompileState) -> tuple[TensorSpec, ...]:
    """As the module gives its outputs: LiteRT lists them by name."""
    if state.training is None:
        return tuple(specs)
    by_name = {spec.name: spec for spec in specs}
    return tuple(by_name[name] for name in state.training.output_names)


def _model_path(variant: str, file: Path) -> str:
    return f"variants/{variant}/model{file.suffix}"


def _golden_path(variant: str) -> str:
    return f"golden/{variant}.npz"
