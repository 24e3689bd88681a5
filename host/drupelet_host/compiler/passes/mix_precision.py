"""The mixed-precision pass: int8 where it pays, float where it costs too much or is not faster."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

from drupelet_host.compiler.pass_protocol import PassResult, add_variant
from drupelet_host.compiler.passes.quantize_static import FileJudge
from drupelet_host.compiler.state import CompileState
from drupelet_host.errors import ExportError
from drupelet_host.progress.observer import Observer
from drupelet_host.quantization.mixed import MixedPrecision, mix_precision
from drupelet_host.quantization.static import Calibrated, StaticSettings, calibrate, write_static
from drupelet_host.recipe.schema import QuantizeConfig, Recipe
from drupelet_host.recipe.target import Int8Gains, find_target
from drupelet_host.selection.variants import FLOAT, MIXED

# A person who states no accuracy constraint has still not asked for a model that stopped working.
DEFAULT_DROP = 0.01


@dataclass(frozen=True, slots=True)
class MixPrecisionPass:
    """Measures what each layer loses and gains in int8, and mixes accordingly."""

    name: ClassVar[str] = "mix_precision"
    config: QuantizeConfig
    max_metric_drop: float
    gains: Int8Gains
    seed: int

    @classmethod
    def from_recipe(cls, recipe: Recipe) -> Self:
        """Take [quantize], the limit on the metric, and what is known of the device."""
        stated = recipe.constraints.max_metric_drop
        gains = find_target(recipe.target.device).int8_gains
        return cls(recipe.quantize, DEFAULT_DROP if stated is None else stated, gains, recipe.seed)

    def run(self, state: CompileState, *, observer: Observer) -> PassResult:
        """Mix; a model that is all one precision in the end goes without."""
        if state.static is None:
            observer.decided(f"no {MIXED}: the model cannot be int8")
            return PassResult(state)
        path, static = state.workspace / f"{MIXED}.onnx", state.static.settings
        try:
            calibrated = calibrate(state.artifacts[FLOAT], calibration=state.calibration.feeds)
            found = self._mix(calibrated, state, static)
        except ExportError as error:
            observer.decided(f"no {MIXED}: {error}")
            return PassResult(state)
        state = replace(state, precisions=found.rows)
        for row in found.rows:
            if row.precision == "float":
                observer.decided(f"{row.layer} stays float: {row.reason}")
        if not found.has_int8 or found.settings == static:
            observer.decided(
                f"no {MIXED}: {'int8 is better in every layer' if found.has_int8 else 'no layer gains by int8'}"
            )
            return PassResult(state)
        write_static(calibrated, path, settings=found.settings)
        result = add_variant(state, MIXED, path)
        kept = float(sum(row.precision == "float" for row in found.rows))
        return PassResult(result.state, {**result.metrics, "score": found.score, "float_layers": kept})

    def _mix(self, calibrated: Calibrated, state: CompileState, settings: StaticSettings) -> MixedPrecision:
        judge = FileJudge(state, self.config.trial_samples, self.seed)
        # Metrics are ratios of counts: rounding keeps 0.99 - 0.01 from being more than 0.98.
        lowest = round(judge(state.originals["onnxruntime"]) - state.narrow_drop(self.max_metric_drop), 9)
        return mix_precision(calibrated, judge=judge, lowest_score=lowest, settings=settings, gains=self.gains)
