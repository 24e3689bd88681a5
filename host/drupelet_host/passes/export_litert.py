"""The LiteRT export pass: the pruned model as a float32 LiteRT file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from drupelet_host.conversion.litert import export_litert, require_litert
from drupelet_host.passes.export_onnx import ExportConfig
from drupelet_host.pipeline import PassResult, add_variant
from drupelet_host.progress import Observer
from drupelet_host.recipe import Recipe
from drupelet_host.state import CompileState

LITERT_FLOAT_VARIANT = "litert-fp32"


@dataclass(frozen=True, slots=True)
class ExportLitertPass:
    """Exports with litert-torch and checks the numbers against PyTorch."""

    name: ClassVar[str] = "export_litert"
    config: ExportConfig

    @classmethod
    def from_recipe(cls, recipe: Recipe) -> Self:
        """Take the input shape from [model]; a missing converter is found before the work starts."""
        require_litert()
        return cls(ExportConfig(input_shape=recipe.model.input_shape))

    def run(self, state: CompileState, *, observer: Observer) -> PassResult:
        """Export."""
        path = state.workspace / f"{LITERT_FLOAT_VARIANT}.tflite"
        export_litert(state.model, self.config.input_shape, path, tolerance=self.config.tolerance)
        observer.progressed(f"exported {LITERT_FLOAT_VARIANT}", done=1, total=1)
        return add_variant(state, LITERT_FLOAT_VARIANT, path)
