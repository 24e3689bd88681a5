"""The LiteRT quantize pass: the float file as static int8."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from drupelet_host.compiler.configuration import PassConfig
from drupelet_host.compiler.pass_protocol import PassResult, add_variant, attempt_variant
from drupelet_host.compiler.state import CompileState
from drupelet_host.export.litert import quantize_litert
from drupelet_host.progress.observer import Observer
from drupelet_host.recipe.schema import Recipe
from drupelet_host.selection.variants import LITERT_FLOAT, LITERT_STATIC


class QuantizeLitertConfig(PassConfig):
    """How many samples calibrate."""

    samples: int


@dataclass(frozen=True, slots=True)
class QuantizeLitertPass:
    """Calibrates on the samples that the ONNX variants are calibrated on; ranges are the extremes that were seen."""

    name: ClassVar[str] = "quantize_litert"
    config: QuantizeLitertConfig

    @classmethod
    def from_recipe(cls, recipe: Recipe) -> Self:
        """Take the number of samples from [quantize]."""
        return cls(QuantizeLitertConfig(samples=recipe.quantize.samples))

    def run(self, state: CompileState, *, observer: Observer) -> PassResult:
        """Quantize."""
        if LITERT_FLOAT not in state.artifacts:
            return PassResult(state)
        return attempt_variant(state, LITERT_STATIC, lambda: self._quantize(state, observer), observer=observer)

    def _quantize(self, state: CompileState, observer: Observer) -> PassResult:
        path = state.workspace / f"{LITERT_STATIC}.tflite"
        quantize_litert(state.artifacts[LITERT_FLOAT], path, calibration=state.calibration.feeds)
        observer.progressed(f"quantized {LITERT_STATIC}", done=1, total=1)
        return add_variant(state, LITERT_STATIC, path)
