"""One pass of a compile: what it is, and what it gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel

from drupelet_host.compiler.state import CompileState
from drupelet_host.progress.observer import Observer
from drupelet_shared.engines.files import model_size_bytes


@dataclass(frozen=True, slots=True)
class PassResult:
    """The state after a pass, and what it measured."""

    state: CompileState
    metrics: Mapping[str, float] = field(default_factory=dict)


def add_variant(state: CompileState, variant: str, path: Path) -> PassResult:
    """Return the result of a pass that made one more variant's file.

    Args:
        state: The state before the pass.
        variant: The id of the new variant.
        path: Its model file.
    """
    artifacts = {**state.artifacts, variant: path}
    return PassResult(replace(state, artifacts=artifacts), {"size_bytes": float(model_size_bytes(path))})


class Pass(Protocol):
    """One step of a compile."""

    @property
    def name(self) -> str:
        """What lineage and progress call it."""

    @property
    def config(self) -> BaseModel:
        """What it was told."""

    def run(self, state: CompileState, *, observer: Observer) -> PassResult:
        """Do the work on a copy of the state.

        Raises:
            DrupeletError: It cannot be done.
        """
