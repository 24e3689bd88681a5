"""The LiteRT export pass: the pruned model as a float32 LiteRT file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from drupelet_host.compiler.pass_protocol import PassResult, add_variant, attempt_variant
from drupelet_host.compiler.passes.export_onnx import ExportConfig
from drupelet_host.compiler.state import CompileState
from drupelet_host.export.litert import export_litert
from drupelet_host.progress.observer import Observer
from drupelet_host.recipe.schema import Recipe
from drupelet_host.selection.variants import LITERT_FLOAT


@dataclass(frozen=True, slots=True)
class ExportLitertPass:
    """Exports with litert-torch and checks the numbers against PyTorch."""

    name: ClassVar[str] = "export_litert"
    config: ExportConfig

    @classmethod
    def from_recipe(cls, recipe: Recipe) -> Self:  # noqa: ARG003 - the same for every pass
        """Take nothing from the recipe."""
        return cls(ExportConfig())

    def run(self, state: CompileState, *, observer: Observer) -> PassResult:
        """Export."""
        if "litert" not in state.originals:
            return PassResult(state)
        return attempt_variant(state, LITERT_FLOAT, lambda: self._export(state, observer), observer=observer)

    def _export(self, state: CompileState, observer: Observer) -> PassResult:
        training, path = state.require_training(), state.workspace / f"{LITERT_FLOAT}.tflite"
        export_litert(
            training.model,
            training.few_samples,
            path,
            output_names=training.output_names,
            tolerance=self.config.tolerance,
        )
        observer.progressed(f"exported {LITERT_FLOAT}", done=1, total=1)
        return add_variant(state, LITERT_FLOAT, path)
