"""The ncnn export pass: the pruned model, or the optimised ONNX file, as a float32 ncnn model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from drupelet_host.compiler.configuration import PassConfig
from drupelet_host.compiler.pass_protocol import PassResult, add_variant, attempt_variant
from drupelet_host.compiler.state import CompileState
from drupelet_host.export.agreement import EXPORT_TOLERANCE
from drupelet_host.export.ncnn import convert_onnx, export_ncnn
from drupelet_host.progress.observer import Observer
from drupelet_host.recipe.schema import Recipe
from drupelet_host.selection.variants import FLOAT, NCNN_FLOAT


class ExportNcnnConfig(PassConfig):
    """The largest difference from the original."""

    tolerance: float = EXPORT_TOLERANCE


@dataclass(frozen=True, slots=True)
class ExportNcnnPass:
    """Converts with pnnx and checks the numbers against PyTorch or ONNX Runtime."""

    name: ClassVar[str] = "export_ncnn"
    config: ExportNcnnConfig

    @classmethod
    def from_recipe(cls, recipe: Recipe) -> Self:  # noqa: ARG003 - the same for every pass
        """Take nothing from the recipe."""
        return cls(ExportNcnnConfig())

    def run(self, state: CompileState, *, observer: Observer) -> PassResult:
        """Convert; a model that ncnn cannot run is left to the other engines."""
        if "ncnn" not in state.originals:
            return PassResult(state)
        path = state.workspace / f"{NCNN_FLOAT}.param"

        def make() -> PassResult:
            self._convert(state, path)
            observer.progressed(f"exported {NCNN_FLOAT}", done=1, total=1)
            return add_variant(state, NCNN_FLOAT, path)

        return attempt_variant(state, NCNN_FLOAT, make, observer=observer)

    def _convert(self, state: CompileState, path: Path) -> None:
        if state.training is None:
            convert_onnx(
                state.artifacts[FLOAT], path, sample=state.calibration.feeds[0], tolerance=self.config.tolerance
            )
            return
        export_ncnn(
            state.training.model,
            state.training.few_samples,
            path,
            output_names=state.training.output_names,
            tolerance=self.config.tolerance,
        )
