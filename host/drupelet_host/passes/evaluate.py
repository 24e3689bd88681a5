"""The evaluate pass: the model as it came, counted and measured in the engine."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict

from drupelet_host.conversion.export import export_onnx
from drupelet_host.evaluation.cost import count_macs, count_parameters
from drupelet_host.evaluation.measurement import ENGINE, THREADS, Measurement, measure_models
from drupelet_host.pipeline import PassResult
from drupelet_host.progress import Observer
from drupelet_host.recipe import Recipe
from drupelet_host.state import CompileState, CostCount

ORIGINAL = "original"


class EvaluateConfig(BaseModel):
    """What is exported, and how it is measured."""

    model_config = ConfigDict(frozen=True)

    input_shape: tuple[int, ...]
    engine: str = ENGINE
    threads: int = THREADS


@dataclass(frozen=True, slots=True)
class EvaluatePass:
    """Exports the untouched original and measures it."""

    name: ClassVar[str] = "evaluate"
    config: EvaluateConfig

    @classmethod
    def from_recipe(cls, recipe: Recipe) -> Self:
        """Take the input shape from [model]."""
        return cls(EvaluateConfig(input_shape=recipe.model.input_shape))

    def run(self, state: CompileState, *, observer: Observer) -> PassResult:
        """Export, count, measure."""
        path = state.workspace / f"{ORIGINAL}.onnx"
        export_onnx(state.original, self.config.input_shape, path)
        observer.progressed("exported the original", done=1, total=2)
        cost = CostCount(count_parameters(state.original), count_macs(state.original, state.example_input))
        reference = measure_models({ORIGINAL: path}, state.validation)[ORIGINAL]
        observer.progressed("measured the original", done=2, total=2)
        metrics = {"parameters": float(cost.parameters), "macs": float(cost.macs), **describe_measurement(reference)}
        return PassResult(replace(state, original_file=path, original_cost=cost, reference=reference), metrics)


def describe_measurement(measurement: Measurement) -> dict[str, float]:
    """A measurement as lineage metrics."""
    return {
        "metric": measurement.metric,
        "size_bytes": float(measurement.size_bytes),
        "p50_ms": measurement.timing.p50_ms,
        "p99_ms": measurement.timing.p99_ms,
        "peak_memory_bytes": float(measurement.peak_memory_bytes),
    }
