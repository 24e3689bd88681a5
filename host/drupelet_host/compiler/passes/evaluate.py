"""The evaluate pass: the model as it came, counted and measured in every engine that variants are made for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Self

from drupelet_host.compiler.configuration import PassConfig
from drupelet_host.compiler.latency_sources.choice import choose_kind
from drupelet_host.compiler.pass_protocol import PassResult
from drupelet_host.compiler.state import CompileState, CostCount
from drupelet_host.errors import EngineMissingError, ExportError
from drupelet_host.evaluation.cost import count_file_parameters, count_macs, count_parameters
from drupelet_host.evaluation.measure import measure_models
from drupelet_host.evaluation.measurement import Measurement
from drupelet_host.evaluation.tflite import count_tflite_parameters
from drupelet_host.export.litert import export_litert, require_litert
from drupelet_host.export.ncnn import convert_onnx, export_ncnn, require_ncnn
from drupelet_host.export.onnx import export_onnx
from drupelet_host.latency.engines import THREADS, engine_of
from drupelet_host.progress.observer import Observer
from drupelet_host.recipe.schema import Recipe
from drupelet_host.selection.variants import FLOAT, LITERT_FLOAT, NCNN_FLOAT
from drupelet_shared.package.manifest import EngineName

ORIGINAL = "original"
_LITERT: EngineName = "litert"
_NCNN: EngineName = "ncnn"
_SUFFIXES: Mapping[EngineName, str] = {"onnxruntime": ".onnx", _LITERT: ".tflite", _NCNN: ".param"}
_FLOAT_OF: Mapping[EngineName, str] = {"onnxruntime": FLOAT, _LITERT: LITERT_FLOAT, _NCNN: NCNN_FLOAT}
Exporters = Mapping[EngineName, Callable[[Path], None]]


class EvaluateConfig(PassConfig):
    """The engines that are exported to, and the settings of the measurement.

    Attributes:
        engines: The engines in which the original is measured.
        threads: The threads of each session.
        boards: The boards that latencies are measured on, which may lack an engine; none for another source.
    """

    engines: tuple[EngineName, ...]
    threads: int = THREADS
    boards: tuple[str, ...] = ()

    @classmethod
    def from_recipe(cls, recipe: Recipe) -> Self:
        """Take the engines from [export], and the boards from [target]."""
        boards = recipe.target.boards if choose_kind(recipe) == "boards" else None
        return cls(engines=recipe.export.engines, boards=() if boards is None else tuple(boards.devices))


@dataclass(frozen=True, slots=True)
class EvaluatePass:
    """Exports the untouched original for each engine and measures it."""

    name: ClassVar[str] = "evaluate"
    config: EvaluateConfig

    @classmethod
    def from_recipe(cls, recipe: Recipe) -> Self:
        """Take [model] and [export]; a missing converter is found before the work starts."""
        if _LITERT in recipe.export.engines and recipe.model.factory is not None:
            require_litert()
        if _NCNN in recipe.export.engines:
            require_ncnn()
        return cls(EvaluateConfig.from_recipe(recipe))

    def run(self, state: CompileState, *, observer: Observer) -> PassResult:
        """Export, count, measure."""
        prepare = self._prepare_file if state.training is None else self._prepare_module
        state, originals, cost = prepare(state, observer)
        observer.progressed("exported the original", done=1, total=2)
        if self.config.boards:
            state, originals = _drop_missing(state, originals, observer)
        references = measure_originals(state, originals)
        observer.progressed("measured the original", done=2, total=2)
        metrics = {"parameters": float(cost.parameters), **describe_originals(references)}
        if cost.macs is not None:
            metrics["macs"] = float(cost.macs)
        made = replace(state, originals=originals, original_cost=cost, cost=cost, references=references)
        return PassResult(made, metrics)

    def _prepare_file(
        self, state: CompileState, observer: Observer
    ) -> tuple[CompileState, dict[EngineName, Path], CostCount]:
        assert state.source is not None, "a model is a module or a file"
        source, sample = state.source, state.samples.feeds[0]
        originals: dict[EngineName, Path] = {engine_of(source): source}
        if _NCNN in self.config.engines:
            exporters: Exporters = {_NCNN: lambda path: convert_onnx(source, path, sample=sample)}
            state, more = _export(exporters, state, observer)
            originals |= more
        count = count_file_parameters if engine_of(source) == "onnxruntime" else count_tflite_parameters
        return state, originals, CostCount(count(source), None)

    def _prepare_module(
        self, state: CompileState, observer: Observer
    ) -> tuple[CompileState, dict[EngineName, Path], CostCount]:
        training = state.require_training()
        model, samples, names = training.original, training.few_samples, training.output_names
        known: Exporters = {
            "onnxruntime": lambda path: export_onnx(model, samples, path, output_names=names),
            _LITERT: lambda path: export_litert(model, samples, path, output_names=names),
            _NCNN: lambda path: export_ncnn(model, samples, path, output_names=names),
        }
        exporters = {engine: export for engine, export in known.items() if engine in self.config.engines}
        state, originals = _export(exporters, state, observer)
        if not originals:
            reasons = "; ".join(dict.fromkeys(state.dropped[_FLOAT_OF[engine]] for engine in exporters))
            raise ExportError(f"the model cannot be exported for any of export.engines: {reasons}")
        return state, originals, CostCount(count_parameters(model), count_macs(model, training.example_input))


def _export(
    exporters: Exporters, state: CompileState, observer: Observer
) -> tuple[CompileState, dict[EngineName, Path]]:
    """Export for each engine; one that cannot run the model is dropped, and the compile goes on without it."""
    originals: dict[EngineName, Path] = {}
    for engine, export in exporters.items():
        path = state.workspace / f"{ORIGINAL}{_SUFFIXES[engine]}"
        try:
            export(path)
        except ExportError as error:
            state = _drop_engine(state, engine, error, observer)
        else:
            originals[engine] = path
    return state, originals


def _drop_engine(state: CompileState, engine: EngineName, error: Exception, observer: Observer) -> CompileState:
    observer.decided(f"no variants for {engine}: {error}")
    return replace(state, dropped={**state.dropped, _FLOAT_OF[engine]: str(error)})


def _drop_missing(
    state: CompileState, originals: Mapping[EngineName, Path], observer: Observer
) -> tuple[CompileState, dict[EngineName, Path]]:
    """Leave out the engines that a board does not have, before anything is made for them."""
    named = {name_original(engine): path for engine, path in originals.items()}
    answers = state.latency_source.measure(named, feed=state.samples.feeds[0])
    missing = {
        engine: answer
        for engine in originals
        if isinstance(answer := answers[name_original(engine)], EngineMissingError)
    }
    if missing and len(missing) == len(originals):
        raise next(iter(missing.values()))
    for engine, error in missing.items():
        state = _drop_engine(state, engine, error, observer)
    return state, {engine: path for engine, path in originals.items() if engine not in missing}


def measure_originals(state: CompileState, originals: Mapping[EngineName, Path]) -> dict[EngineName, Measurement]:
    """Return the original in each engine."""
    measured = measure_models(
        {name_original(engine): path for engine, path in originals.items()}, state.samples, state.metric
    )
    return {engine: measured[name_original(engine)] for engine in originals}


def name_original(engine: EngineName) -> str:
    """Return the name of the original in an engine, for lineage."""
    return f"{ORIGINAL}.{engine}"


def describe_originals(references: Mapping[EngineName, Measurement]) -> dict[str, float]:
    """Lineage metrics of the original in each engine."""
    return {
        f"{name_original(engine)}.{key}": value
        for engine, measured in references.items()
        for key, value in describe_measurement(measured).items()
    }


def describe_measurement(measurement: Measurement) -> dict[str, float]:
    """Return a measurement as lineage metrics."""
    metrics = {
        "metric": measurement.metric,
        "size_bytes": float(measurement.size_bytes),
        "p50_ms": measurement.timing.p50_ms,
        "p99_ms": measurement.timing.p99_ms,
    }
    if measurement.peak_memory_bytes is not None:
        metrics["peak_memory_bytes"] = float(measurement.peak_memory_bytes)
    return metrics
