"""The quantize pass: the float file as static int8."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from drupelet_host.conversion.quantize import quantize_int8
from drupelet_host.passes.export_onnx import FLOAT_VARIANT
from drupelet_host.pipeline import PassResult, add_variant
from drupelet_host.progress import Observer
from drupelet_host.recipe import QuantizeConfig, Recipe
from drupelet_host.state import CompileState

# Weights int8, activations int8.
INT8_VARIANT = "ort-static-wi8-ai8"


@dataclass(frozen=True, slots=True)
class QuantizeStaticPass:
    """Calibrates on training samples and writes a QDQ model."""

    name: ClassVar[str] = "quantize_static"
    config: QuantizeConfig
    seed: int

    @classmethod
    def from_recipe(cls, recipe: Recipe) -> Self:
        """Take [quantize]."""
        return cls(recipe.quantize, recipe.seed)

    def run(self, state: CompileState, *, observer: Observer) -> PassResult:
        """Quantize."""
        path = state.workspace / f"{INT8_VARIANT}.onnx"
        samples = state.train.subset(self.config.samples, seed=self.seed)
        quantize_int8(state.artifacts[FLOAT_VARIANT], path, calibration=samples.inputs, method=self.config.method)
        observer.progressed(f"quantized {INT8_VARIANT}", done=1, total=1)
        return add_variant(state, INT8_VARIANT, path)
