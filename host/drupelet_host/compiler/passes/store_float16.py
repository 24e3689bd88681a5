"""The float16 pass: the float file with its weights in half the bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from drupelet_host.compiler.configuration import NoConfig
from drupelet_host.compiler.pass_protocol import PassResult, add_variant, attempt_variant
from drupelet_host.compiler.state import CompileState
from drupelet_host.progress.observer import Observer
from drupelet_host.quantization.float16 import store_float16
from drupelet_host.recipe.schema import Recipe
from drupelet_host.selection.variants import FLOAT, FLOAT16


@dataclass(frozen=True, slots=True)
class StoreFloat16Pass:
    """Stores weights as float16; the engine computes in float32."""

    name: ClassVar[str] = "store_float16"
    config: NoConfig

    @classmethod
    def from_recipe(cls, recipe: Recipe) -> Self:  # noqa: ARG003 - the same for every recipe
        """Read nothing."""
        return cls(NoConfig())

    def run(self, state: CompileState, *, observer: Observer) -> PassResult:
        """Store; a model that does not become smaller has no such variant."""
        if FLOAT not in state.artifacts:
            return PassResult(state)
        path = state.workspace / f"{FLOAT16}.onnx"

        def make() -> PassResult:
            store_float16(state.artifacts[FLOAT], path)
            return add_variant(state, FLOAT16, path)

        return attempt_variant(state, FLOAT16, make, observer=observer)
