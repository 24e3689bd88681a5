"""The second evaluate pass: every variant in the engine, beside the original."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

from drupelet_host.evaluation.measurement import measure_models
from drupelet_host.passes.evaluate import ORIGINAL, EvaluateConfig, describe_measurement
from drupelet_host.pipeline import PassResult
from drupelet_host.progress import Observer
from drupelet_host.recipe import Recipe
from drupelet_host.state import CompileState


@dataclass(frozen=True, slots=True)
class EvaluateVariantsPass:
    """Measures the variants and, once more in the same minutes, the original."""

    name: ClassVar[str] = "evaluate_variants"
    config: EvaluateConfig

    @classmethod
    def from_recipe(cls, recipe: Recipe) -> Self:
        """Measure as the first evaluation did."""
        return cls(EvaluateConfig(input_shape=recipe.model.input_shape))

    def run(self, state: CompileState, *, observer: Observer) -> PassResult:
        """Measure."""
        assert state.original_file is not None, "the evaluate pass comes first"
        measured = measure_models({ORIGINAL: state.original_file, **state.artifacts}, state.validation)
        observer.progressed("measured every variant", done=1, total=1)
        variants = {name: measured[name] for name in state.artifacts}
        metrics = {
            f"{name}.{key}": value
            for name, measurement in measured.items()
            for key, value in describe_measurement(measurement).items()
        }
        return PassResult(replace(state, reference=measured[ORIGINAL], measurements=variants), metrics)
