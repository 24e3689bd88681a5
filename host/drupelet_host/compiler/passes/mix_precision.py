"""The mixed-precision pass: int8 where it pays, float where it costs too much or is not faster."""

from __future__ import annotations

import filecmp
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from drupelet_host.compiler.configuration import PassConfig, stated_or_default_drop
from drupelet_host.compiler.judging import FileJudge
from drupelet_host.compiler.latency_sources.choice import find_table
from drupelet_host.compiler.pass_protocol import PassResult, add_variant, attempt_variant, drop_variant
from drupelet_host.compiler.state import CompileState
from drupelet_host.latency.modelled.table import load_table
from drupelet_host.progress.observer import Observer
from drupelet_host.progress.pace import Pace
from drupelet_host.quantization.mixed.mix import MixedPrecision, mix_precision
from drupelet_host.quantization.static import Calibrated, StaticSettings, calibrate, write_static
from drupelet_host.recipe.schema import Recipe
from drupelet_host.selection.variants import FLOAT, MIXED, STATIC


class MixPrecisionConfig(PassConfig):
    """When a layer stays in float.

    Attributes:
        samples: Training samples that calibrate.
        trial_samples: Validation samples that judge a mixture.
        max_metric_drop: The largest drop of the metric that a mixture may leave.
        latency_table: The version of the table of what layers take on the target; None times them on this machine.
        max_minutes: The time after which no layer is measured any more.
    """

    samples: int
    trial_samples: int
    max_metric_drop: float
    latency_table: str | None
    max_minutes: float | None = None


@dataclass(frozen=True, slots=True)
class MixPrecisionPass:
    """Measures what each layer loses and gains in int8, and mixes accordingly.

    Attributes:
        config: What the pass reads from the recipe.
        seed: Of the draw of validation samples.
        target: The device whose latency table tells what layers take; None times them on this machine.
    """

    name: ClassVar[str] = "mix_precision"
    config: MixPrecisionConfig
    seed: int
    target: str | None = None

    @classmethod
    def from_recipe(cls, recipe: Recipe) -> Self:
        """Read [quantize], the limit on the metric, and what is known of the target."""
        table = find_table(recipe)
        config = MixPrecisionConfig(
            samples=recipe.quantize.samples,
            trial_samples=recipe.quantize.trial_samples,
            max_metric_drop=stated_or_default_drop(recipe),
            latency_table=None if table is None else table.label,
            max_minutes=recipe.quantize.max_minutes,
        )
        return cls(config, recipe.seed, None if table is None else recipe.target.device)

    def run(self, state: CompileState, *, observer: Observer) -> PassResult:
        """Mix; a model whose layers all end in one precision has no such variant."""
        if state.static is None:
            return drop_variant(state, MIXED, "the model cannot be int8", observer=observer)
        static = state.static.settings
        return attempt_variant(state, MIXED, lambda: self._make(state, static, observer), observer=observer)

    def _make(self, state: CompileState, static: StaticSettings, observer: Observer) -> PassResult:
        path = state.workspace / f"{MIXED}.onnx"
        calibrated = calibrate(state.artifacts[FLOAT], calibration=state.calibration.feeds)
        mix = self._mix(calibrated, state, static, observer)
        state = replace(state, precisions=mix.rows)
        for row in mix.rows:
            if row.precision == "float":
                observer.decided(f"{row.layer} stays float: {row.reason}")
        if not mix.has_int8 or mix.settings == static:
            reason = "int8 is better in every layer" if mix.has_int8 else "no layer gains by int8"
            return drop_variant(state, MIXED, reason, observer=observer)
        write_static(calibrated, path, settings=mix.settings)
        if STATIC in state.artifacts and filecmp.cmp(path, state.artifacts[STATIC], shallow=False):
            reason = f"the same file as {STATIC}: int8 is better in every layer that can be int8"
            return drop_variant(state, MIXED, reason, observer=observer)
        result = add_variant(state, MIXED, path)
        kept = float(sum(row.precision == "float" for row in mix.rows))
        return PassResult(result.state, {**result.metrics, "score": mix.score, "float_layers": kept})

    def _mix(
        self, calibrated: Calibrated, state: CompileState, settings: StaticSettings, observer: Observer
    ) -> MixedPrecision:
        pace = Pace.of_minutes(observer, self.config.max_minutes)
        judge = FileJudge.of_state(state, count=self.config.trial_samples, seed=self.seed)
        limit = state.metric_limit(self.config.max_metric_drop, baseline=judge(state.originals["onnxruntime"]))
        return mix_precision(
            calibrated,
            judge=judge,
            lowest_score=limit.lowest,
            settings=settings,
            table=None if self.target is None else load_table(self.target),
            pace=pace,
            compute=state.compute,
        )
