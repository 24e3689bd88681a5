"""The export pass: the pruned model as a float32 ONNX file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict

from drupelet_host.conversion.agreement import EXPORT_TOLERANCE
from drupelet_host.conversion.export import export_onnx
from drupelet_host.pipeline import PassResult, add_variant
from drupelet_host.progress import Observer
from drupelet_host.recipe import Recipe
from drupelet_host.state import CompileState

FLOAT_VARIANT = "ort-fp32"


class ExportConfig(BaseModel):
    """The input's shape, and how far the export may be from PyTorch."""

    model_config = ConfigDict(frozen=True)

    input_shape: tuple[int, ...]
    tolerance: float = EXPORT_TOLERANCE


@dataclass(frozen=True, slots=True)
class ExportOnnxPass:
    """Exports with torch.export and checks the numbers against PyTorch."""

    name: ClassVar[str] = "export_onnx"
    config: ExportConfig

    @classmethod
    def from_recipe(cls, recipe: Recipe) -> Self:
        """Take the input shape from [model]."""
        return cls(ExportConfig(input_shape=recipe.model.input_shape))

    def run(self, state: CompileState, *, observer: Observer) -> PassResult:
        """Export."""
        path = state.workspace / f"{FLOAT_VARIANT}.onnx"
        export_onnx(state.model, self.config.input_shape, path, tolerance=self.config.tolerance)
        observer.progressed(f"exported {FLOAT_VARIANT}", done=1, total=1)
        return add_variant(state, FLOAT_VARIANT, path)
