"""The quantize pass: the float file as static int8, by the calibration method with the best score."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self

from drupelet_host.compiler.configuration import PassConfig
from drupelet_host.compiler.judging import FileJudge
from drupelet_host.compiler.pass_protocol import PassResult, add_variant, attempt_variant
from drupelet_host.compiler.state import CompileState
from drupelet_host.errors import ExportError
from drupelet_host.progress.observer import Observer
from drupelet_host.progress.pace import Pace
from drupelet_host.quantization.choice import MethodChoice, choose_method, describe_method
from drupelet_host.quantization.layers import match_layers as find_matches
from drupelet_host.quantization.ranges import METHODS, Method
from drupelet_host.quantization.static import Calibrated, StaticSettings, calibrate, write_static
from drupelet_host.recipe.schema import Recipe
from drupelet_host.selection.variants import FLOAT, STATIC


class QuantizeStaticConfig(PassConfig):
    """How static int8 is made.

    Attributes:
        samples: Training samples that calibrate.
        method: How a range follows from what calibration observed; "auto" tries all.
        keep_float: Patterns of the layers left in float.
        trial_samples: Validation samples that choose between methods.
        max_minutes: The time after which no method is tried any more.
    """

    samples: int
    method: Literal["auto"] | Method
    keep_float: tuple[str, ...]
    trial_samples: int
    max_minutes: float | None = None


@dataclass(frozen=True, slots=True)
class QuantizeStaticPass:
    """Calibrates on training samples and writes a QDQ model."""

    name: ClassVar[str] = "quantize_static"
    config: QuantizeStaticConfig
    seed: int

    @classmethod
    def from_recipe(cls, recipe: Recipe) -> Self:
        """Read [quantize]."""
        quantize = recipe.quantize
        config = QuantizeStaticConfig(
            samples=quantize.samples,
            method=quantize.method,
            keep_float=quantize.keep_float,
            trial_samples=quantize.trial_samples,
            max_minutes=quantize.max_minutes,
        )
        return cls(config, recipe.seed)

    def run(self, state: CompileState, *, observer: Observer) -> PassResult:
        """Choose and quantize; a model that cannot be int8 has no such variant."""
        if FLOAT not in state.artifacts:
            return PassResult(state)
        return attempt_variant(state, STATIC, lambda: self._make(state, observer), observer=observer)

    def _make(self, state: CompileState, observer: Observer) -> PassResult:
        path = state.workspace / f"{STATIC}.onnx"
        calibrated = calibrate(state.artifacts[FLOAT], calibration=state.calibration.feeds)
        choice = self._choose(calibrated, state, observer)
        write_static(calibrated, path, settings=choice.settings)
        for layer in calibrated.layers:
            if reason := calibrated.float_nodes.get(layer.name):
                observer.decided(f"{layer.label} stays float: {reason}")
        for scored in choice.scores:
            observer.decided(f"calibration by {scored.description}: {scored.score:.4f}")
        chosen = choice.settings
        observer.decided(f"calibrated by {describe_method(chosen.method, bias=chosen.bias_correction)}")
        metrics = {scored.description: scored.score for scored in choice.scores}
        result = add_variant(replace(state, static=choice), STATIC, path)
        return PassResult(result.state, {**result.metrics, **metrics})

    def _choose(self, calibrated: Calibrated, state: CompileState, observer: Observer) -> MethodChoice:
        keep = match_layers(calibrated, self.config.keep_float)
        if self.config.method != "auto":
            return MethodChoice(StaticSettings(self.config.method, keep), ())
        judge = FileJudge.of_state(state, count=self.config.trial_samples, seed=self.seed)
        pace = Pace.of_minutes(observer, self.config.max_minutes)
        return choose_method(
            calibrated,
            judge=judge,
            methods=METHODS,
            keep_float=keep,
            noise=judge.noise,
            pace=pace,
            compute=state.compute,
        )


def match_layers(calibrated: Calibrated, patterns: tuple[str, ...]) -> frozenset[str]:
    """Return the layers whose names match one of the patterns, those of their tensors or of their modules.

    Raises:
        ExportError: A pattern matches none.
    """
    matches = find_matches(calibrated.layers, patterns)
    if idle := [pattern for pattern, names in matches.items() if not names]:
        known = ", ".join(layer.label for layer in calibrated.layers)
        raise ExportError(f"quantize.keep_float: {', '.join(idle)} match none of the layers {known}")
    return frozenset(name for names in matches.values() for name in names)
