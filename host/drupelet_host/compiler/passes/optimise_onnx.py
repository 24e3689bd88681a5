"""The optimise pass: an ONNX file that came from outside, with less in it and the same answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from drupelet_host.compiler.configuration import PassConfig
from drupelet_host.compiler.pass_protocol import PassResult, add_variant
from drupelet_host.compiler.state import CompileState
from drupelet_host.onnx_files.optimisation import OPTIMISE_TOLERANCE, optimise
from drupelet_host.progress.observer import Observer
from drupelet_host.recipe.schema import Recipe
from drupelet_host.selection.variants import FLOAT

_CHECK_SAMPLES = 8


class OptimiseConfig(PassConfig):
    """How far the optimised model's answers may be from the original's."""

    tolerance: float = OPTIMISE_TOLERANCE
    samples: int = _CHECK_SAMPLES


@dataclass(frozen=True, slots=True)
class OptimiseOnnxPass:
    """Folds constants, fuses batch norms, drops dead nodes; checked in ONNX Runtime."""

    name: ClassVar[str] = "optimise_onnx"
    config: OptimiseConfig

    @classmethod
    def from_recipe(cls, recipe: Recipe) -> Self:  # noqa: ARG003 - the same for every recipe
        """Use the defaults."""
        return cls(OptimiseConfig())

    def run(self, state: CompileState, *, observer: Observer) -> PassResult:
        """Optimise."""
        assert state.source is not None, "only a file is optimised"
        path, samples = state.workspace / f"{FLOAT}.onnx", state.calibration.feeds[: self.config.samples]
        made = optimise(state.source, path, samples=samples, tolerance=self.config.tolerance)
        observer.decided(f"nothing is pruned: {state.source.name} is a graph without the layers of a PyTorch module")
        if made.kept is None:
            observer.decided(
                f"optimised the graph: answers differ by at most {made.difference:.2g} of the largest value"
            )
        else:
            observer.decided(f"the file is used as it was given: {made.kept}")
        result = add_variant(state, FLOAT, path)
        return PassResult(result.state, {**result.metrics, "difference": made.difference})
