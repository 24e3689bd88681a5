"""The dynamic quantize pass: int8 weights, activations quantized in each inference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from drupelet_host.compiler.configuration import NoConfig
from drupelet_host.compiler.pass_protocol import PassResult, add_variant, attempt_variant
from drupelet_host.compiler.state import CompileState
from drupelet_host.progress.observer import Observer
from drupelet_host.quantization.dynamic import quantize_dynamic
from drupelet_host.recipe.schema import Recipe
from drupelet_host.selection.variants import DYNAMIC, FLOAT


@dataclass(frozen=True, slots=True)
class QuantizeDynamicPass:
    """Quantizes matrix products and recurrent layers; convolutions stay float, as they are faster so."""

    name: ClassVar[str] = "quantize_dynamic"
    config: NoConfig

    @classmethod
    def from_recipe(cls, recipe: Recipe) -> Self:  # noqa: ARG003 - the same for every recipe
        """Read nothing."""
        return cls(NoConfig())

    def run(self, state: CompileState, *, observer: Observer) -> PassResult:
        """Quantize; a model without such layers has no such variant."""
        if FLOAT not in state.artifacts:
            return PassResult(state)
        path = state.workspace / f"{DYNAMIC}.onnx"

        def make() -> PassResult:
            quantize_dynamic(state.artifacts[FLOAT], path)
            return add_variant(state, DYNAMIC, path)

        return attempt_variant(state, DYNAMIC, make, observer=observer)
