"""The adopt pass: uses a LiteRT file unchanged as a variant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from drupelet_host.compiler.configuration import NoConfig
from drupelet_host.compiler.pass_protocol import PassResult, add_variant
from drupelet_host.compiler.state import CompileState
from drupelet_host.evaluation.tflite import find_precision
from drupelet_host.progress.observer import Observer
from drupelet_host.recipe.schema import Recipe


@dataclass(frozen=True, slots=True)
class AdoptTflitePass:
    """Adds the file as a variant, with the precision of its tensors."""

    name: ClassVar[str] = "adopt_tflite"
    config: NoConfig

    @classmethod
    def from_recipe(cls, recipe: Recipe) -> Self:  # noqa: ARG003 - the same for every recipe
        """Return the pass, which reads no key of the recipe."""
        return cls(NoConfig())

    def run(self, state: CompileState, *, observer: Observer) -> PassResult:
        """Add the file as a variant."""
        assert state.source is not None, "the recipe has a file"
        precision = find_precision(state.source)
        observer.decided(f"{state.source.name} is packed unchanged: {precision}")
        return add_variant(state, f"litert-{precision}", state.source)
