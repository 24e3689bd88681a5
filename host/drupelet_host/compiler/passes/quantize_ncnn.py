"""The ncnn quantize pass: the float32 model with float16 weights, as static int8, and as int8 with float32 layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, Self

from drupelet_host.compiler.configuration import PassConfig, stated_or_default_drop
from drupelet_host.compiler.judging import FileJudge
from drupelet_host.compiler.latency_sources.choice import find_table
from drupelet_host.compiler.pass_protocol import PassResult, add_variant, attempt_variant, drop_variant
from drupelet_host.compiler.state import CompileState
from drupelet_host.latency.modelled.table import load_table
from drupelet_host.progress.observer import Observer
from drupelet_host.progress.pace import Pace
from drupelet_host.quantization.choice import describe_method
from drupelet_host.quantization.ncnn.choice import NcnnChoice, choose_ncnn_method, keep_costly_layers
from drupelet_host.quantization.ncnn.float16 import store_ncnn_float16
from drupelet_host.quantization.ncnn.savings import look_up_savings
from drupelet_host.quantization.ncnn.static import NcnnCalibrated, calibrate_ncnn, write_ncnn_int8
from drupelet_host.quantization.ranges import METHODS, Method
from drupelet_host.recipe.schema import Recipe
from drupelet_host.selection.variants import NCNN_FLOAT, NCNN_FLOAT16, NCNN_MIXED, NCNN_STATIC


class QuantizeNcnnConfig(PassConfig):
    """Which ncnn variants are made, and how.

    Attributes:
        samples: Training samples that calibrate.
        method: How a range follows from what calibration observed; "auto" tries all.
        trial_samples: Validation samples that choose.
        variants: Of "static", "mixed" and "float16", those to make.
        max_metric_drop: The largest drop of the metric that a mixture may leave.
        latency_table: The version of the table of what layers take on the target; None ranks layers by loss alone.
        max_minutes: The time after which no method is tried and no layer is measured any more.
    """

    samples: int
    method: Literal["auto"] | Method
    trial_samples: int
    variants: tuple[str, ...]
    max_metric_drop: float
    latency_table: str | None = None
    max_minutes: float | None = None


@dataclass(frozen=True, slots=True)
class QuantizeNcnnPass:
    """Makes the variants that [quantize] names; one that cannot be made is left out.

    Attributes:
        config: What the pass reads from the recipe.
        seed: Of the draw of validation samples.
        target: The device whose latency table tells what int8 saves in each layer; None ranks them by loss alone.
    """

    name: ClassVar[str] = "quantize_ncnn"
    config: QuantizeNcnnConfig
    seed: int
    target: str | None = None

    @classmethod
    def from_recipe(cls, recipe: Recipe) -> Self:
        """Read [quantize], the limit on the metric, and what is known of the target."""
        quantize, table = recipe.quantize, find_table(recipe)
        config = QuantizeNcnnConfig(
            samples=quantize.samples,
            method=quantize.method,
            trial_samples=quantize.trial_samples,
            variants=tuple(name for name in quantize.variants if name != "dynamic"),
            max_metric_drop=stated_or_default_drop(recipe),
            latency_table=None if table is None else table.label,
            max_minutes=quantize.max_minutes,
        )
        return cls(config, recipe.seed, None if table is None else recipe.target.device)

    def run(self, state: CompileState, *, observer: Observer) -> PassResult:
        """Quantize."""
        if NCNN_FLOAT not in state.artifacts:
            return PassResult(state)
        result = PassResult(state)
        if "float16" in self.config.variants:
            result = self._store_float16(result.state, observer)
        if "static" in self.config.variants:
            before = result.state
            result = attempt_variant(before, NCNN_STATIC, lambda: self._quantize(before, observer), observer=observer)
        return result

    def _store_float16(self, state: CompileState, observer: Observer) -> PassResult:
        path = state.workspace / f"{NCNN_FLOAT16}.param"

        def make() -> PassResult:
            store_ncnn_float16(state.artifacts[NCNN_FLOAT], path)
            return add_variant(state, NCNN_FLOAT16, path)

        return attempt_variant(state, NCNN_FLOAT16, make, observer=observer)

    def _quantize(self, state: CompileState, observer: Observer) -> PassResult:

        calibrated = calibrate_ncnn(state.artifacts[NCNN_FLOAT], samples=state.calibration.feeds)
        methods = METHODS if self.config.method == "auto" else (self.config.method,)
        judge = FileJudge.of_state(state, count=self.config.trial_samples, seed=self.seed)
        pace = Pace.of_minutes(observer, self.config.max_minutes)
        choice = choose_ncnn_method(calibrated, judge=judge, methods=methods, pace=pace, compute=state.compute)
        chosen = describe_method(choice.settings.method, bias=choice.settings.biases is not None)
        observer.decided(f"ncnn: calibrated by {chosen}: {choice.score:.4f}")
        path = state.workspace / f"{NCNN_STATIC}.param"
        write_ncnn_int8(calibrated, path, settings=choice.settings)
        result = add_variant(state, NCNN_STATIC, path)
        metrics = {**result.metrics, **{scored.description: scored.score for scored in choice.scores}}
        if "mixed" in self.config.variants:
            made = result.state
            result = attempt_variant(
                made, NCNN_MIXED, lambda: self._mix(made, calibrated, choice, judge, pace), observer=observer
            )
        return PassResult(result.state, metrics)

    def _mix(
        self,
        state: CompileState,
        calibrated: NcnnCalibrated,
        choice: NcnnChoice,
        judge: FileJudge,
        pace: Pace,
    ) -> PassResult:
        observer = pace.observer
        limit = state.metric_limit(self.config.max_metric_drop, baseline=judge(state.originals["ncnn"]))
        if limit.allows(choice.score):
            return drop_variant(state, NCNN_MIXED, "every layer keeps the metric in int8", observer=observer)
        mixed = keep_costly_layers(
            calibrated,
            choice,
            judge=judge,
            lowest_score=limit.lowest,
            saved_ms=look_up_savings(calibrated, None if self.target is None else load_table(self.target)),
            pace=pace,
            compute=state.compute,
        )
        if mixed is None:
            reason = f"no mixture of int8 and float32 reaches {limit.lowest:.4f}"
            return drop_variant(state, NCNN_MIXED, reason, observer=observer)
        kept = ", ".join(sorted(mixed.settings.keep_float))
        observer.decided(f"ncnn: {kept} stay in float32: {mixed.score:.4f}")
        path = state.workspace / f"{NCNN_MIXED}.param"
        write_ncnn_int8(calibrated, path, settings=mixed.settings)
        return add_variant(state, NCNN_MIXED, path)
