"""The adopt pass: a LiteRT file becomes a variant as it is."""

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
    """Takes the file over; its precision is read from its tensors."""

    name: ClassVar[str] = "adopt_tflite"
    config: NoConfig

    @classmethod
    def from_recipe(cls, recipe: Recipe) -> Self:  # noqa: ARG003 - the same for every recipe
        """Read nothing."""
        return cls(NoConfig())

    def run(self, state: CompileState, *, observer: Observer) -> PassResult:
        """Take the file over."""
        assert state.source is not None, "the recipe has a file"
        precision = find_precision(state.source)
        observer.decided(f"{state.source.name} is packed as it is: {precision}")
        return add_variant(state, f"litert-{precision}", state.source)
