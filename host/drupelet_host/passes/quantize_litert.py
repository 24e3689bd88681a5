"""The LiteRT quantize pass: the float file as static int8."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from drupelet_host.conversion.litert import quantize_litert
from drupelet_host.passes.export_litert import LITERT_FLOAT_VARIANT
from drupelet_host.pipeline import PassResult, add_variant
from drupelet_host.progress import Observer
from drupelet_host.recipe import QuantizeConfig, Recipe
from drupelet_host.state import CompileState

# Weights int8, activations int8.
LITERT_INT8_VARIANT = "litert-static-wi8-ai8"


@dataclass(frozen=True, slots=True)
class QuantizeLitertPass:
    """Calibrates on the training samples that the ONNX variant is calibrated on; the method is always minmax."""

    name: ClassVar[str] = "quantize_litert"
    config: QuantizeConfig
    seed: int

    @classmethod
    def from_recipe(cls, recipe: Recipe) -> Self:
        """Take the samples from [quantize]."""
        return cls(recipe.quantize.model_copy(update={"method": "minmax"}), recipe.seed)

    def run(self, state: CompileState, *, observer: Observer) -> PassResult:
        """Quantize."""
        path = state.workspace / f"{LITERT_INT8_VARIANT}.tflite"
        samples = state.train.subset(self.config.samples, seed=self.seed)
        quantize_litert(state.artifacts[LITERT_FLOAT_VARIANT], path, calibration=samples.inputs)
        observer.progressed(f"quantized {LITERT_INT8_VARIANT}", done=1, total=1)
        return add_variant(state, LITERT_INT8_VARIANT, path)
