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
    """How far the export may be from PyTorch."""

    tolerance: float = EXPORT_TOLERANCE


@dataclass(frozen=True, slots=True)
class ExportOnnxPass:
    """Exports with torch.export and checks the numbers against PyTorch."""

    name: ClassVar[str] = "export_onnx"
    config: ExportConfig

    @classmethod
    def from_recipe(cls, recipe: Recipe) -> Self:  # noqa: ARG003 - the same for every pass
        """Take nothing from the recipe."""
        return cls(ExportConfig())

    def run(self, state: CompileState, *, observer: Observer) -> PassResult:
        """Export."""
        if "onnxruntime" not in state.originals:
            return PassResult(state)
        training, path = state.require_training(), state.workspace / f"{FLOAT}.onnx"
        export_onnx(
            training.model,
            training.few_samples,
            path,
            output_names=training.output_names,
            tolerance=self.config.tolerance,
        )
        observer.progressed(f"exported {FLOAT}", done=1, total=1)
        return add_variant(state, FLOAT, path)
