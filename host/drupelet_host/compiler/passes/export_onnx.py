"""The export pass: the pruned model as a float32 ONNX file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from drupelet_host.compiler.configuration import PassConfig
from drupelet_host.compiler.pass_protocol import PassResult, add_variant
from drupelet_host.compiler.state import CompileState
from drupelet_host.export.agreement import EXPORT_TOLERANCE
from drupelet_host.export.onnx import export_onnx
from drupelet_host.progress.observer import Observer
from drupelet_host.recipe.schema import Recipe
from drupelet_host.selection.variants import FLOAT


class ExportConfig(PassConfig):
    """The input's shape, and how far the export may be from PyTorch."""

    input_shape: tuple[int, ...]
    tolerance: float = EXPORT_TOLERANCE

    @classmethod
    def from_recipe(cls, recipe: Recipe) -> Self:
        """Take the input shape from [model]."""
        assert recipe.model.input_shape is not None, "only a module is exported"
        return cls(input_shape=recipe.model.input_shape)


@dataclass(frozen=True, slots=True)
class ExportOnnxPass:
    """Exports with torch.export and checks the numbers against PyTorch."""

    name: ClassVar[str] = "export_onnx"
    config: ExportConfig

    @classmethod
    def from_recipe(cls, recipe: Recipe) -> Self:
        """Take the input shape from [model]."""
        return cls(ExportConfig.from_recipe(recipe))

    def run(self, state: CompileState, *, observer: Observer) -> PassResult:
        """Export."""
        if "onnxruntime" not in state.originals:
            return PassResult(state)
        training, path = state.require_training(), state.workspace / f"{FLOAT}.onnx"
        export_onnx(
            training.model,
            self.config.input_shape,
            path,
            output_names=training.output_names,
            tolerance=self.config.tolerance,
        )
        observer.progressed(f"exported {FLOAT}", done=1, total=1)
        return add_variant(state, FLOAT, path)
