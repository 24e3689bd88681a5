"""The evaluate pass: the model as it came, counted and measured in every engine that variants are made for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Self

from drupelet_host.compiler.configuration import PassConfig
from drupelet_host.compiler.pass_protocol import PassResult
from drupelet_host.compiler.state import CompileState, CostCount, Training
from drupelet_host.errors import ExportError
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
from drupelet_shared.package.manifest import EngineName

ORIGINAL = "original"
_LITERT: EngineName = "litert"
_NCNN: EngineName = "ncnn"


class EvaluateConfig(PassConfig):
    """What is exported, and how it is measured.

    Attributes:
        input_shape: The input shape for the export; None for a model that came as a file.
        engines: The engines in which the original is measured.
        threads: The threads of each session.
    """

    input_shape: tuple[int, ...] | None
    engines: tuple[EngineName, ...]
    threads: int = THREADS

    @classmethod
    def from_recipe(cls, recipe: Recipe) -> Self:
        """Take the input shape from [model], the engines from [export]."""
        return cls(input_shape=recipe.model.input_shape, engines=recipe.export.engines)


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
        if state.training is None:
            assert state.source is not None, "a model is a module or a file"
            originals: dict[EngineName, Path] = {engine_of(state.source): state.source}
            if _NCNN in self.config.engines:
                source, sample = state.source, state.samples.feeds[0]
                originals |= _export_ncnn(lambda path: convert_onnx(source, path, sample=sample), state, observer)
            is_onnx = engine_of(state.source) == "onnxruntime"
            count = count_file_parameters if is_onnx else count_tflite_parameters
            cost = CostCount(count(state.source), None)
        else:
            originals = self._export(state.training, state, observer)
            model = state.training.original
            cost = CostCount(count_parameters(model), count_macs(model, state.training.example_input))
        observer.progressed("exported the original", done=1, total=2)
        references = measure_originals(state, originals)
        observer.progressed("measured the original", done=2, total=2)
        metrics = {"parameters": float(cost.parameters), **describe_originals(references)}
        if cost.macs is not None:
            metrics["macs"] = float(cost.macs)
        made = replace(state, originals=originals, original_cost=cost, cost=cost, references=references)
        return PassResult(made, metrics)

    def _export(self, training: Training, state: CompileState, observer: Observer) -> dict[EngineName, Path]:
        shape, names = self.config.input_shape, training.output_names
        assert shape is not None, "the recipe checks it"
        originals: dict[EngineName, Path] = {}
        folder = state.workspace
        if "onnxruntime" in self.config.engines:
            originals["onnxruntime"] = folder / f"{ORIGINAL}.onnx"
            export_onnx(training.original, shape, originals["onnxruntime"], output_names=names)
        if _LITERT in self.config.engines:
            originals[_LITERT] = folder / f"{ORIGINAL}.tflite"
            export_litert(training.original, shape, originals[_LITERT], output_names=names)
        if _NCNN in self.config.engines:
            originals |= _export_ncnn(
                lambda path: export_ncnn(training.original, shape, path, output_names=names), state, observer
            )
        if not originals:
            raise ExportError("the model cannot be exported for any of export.engines: see the reasons above")
        return originals


def _export_ncnn(export: Callable[[Path], None], state: CompileState, observer: Observer) -> dict[EngineName, Path]:
    """Return the original for ncnn; empty where ncnn cannot run it: the compile continues without that engine."""
    path = state.workspace / f"{ORIGINAL}.param"
    try:
        export(path)
    except ExportError as error:
        observer.decided(f"no variants for ncnn: {error}")
        return {}
    return {_NCNN: path}


def measure_originals(state: CompileState, originals: Mapping[EngineName, Path]) -> dict[EngineName, Measurement]:
    """Return the original in each engine."""
    measured = measure_models(
        {name_original(engine): path for engine, path in originals.items()}, state.samples, state.metric
    )
    return {engine: measured[name_original(engine)] for engine in originals}


def name_original(engine: EngineName) -> str:
    """Return what lineage calls the original in an engine."""
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
    found = {
        "metric": measurement.metric,
        "size_bytes": float(measurement.size_bytes),
        "p50_ms": measurement.timing.p50_ms,
        "p99_ms": measurement.timing.p99_ms,
    }
    if measurement.peak_memory_bytes is not None:
        found["peak_memory_bytes"] = float(measurement.peak_memory_bytes)
    return found
