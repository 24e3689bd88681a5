"""What one pass of a compile gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from drupelet_host.state import CompileState


@dataclass(frozen=True, slots=True)
class PassResult:
    """The state after a pass, and what it measured."""

    state: CompileState
    metrics: Mapping[str, float] = field(default_factory=dict)


def add_variant(state: CompileState, variant: str, path: Path) -> PassResult:
    """The result of a pass that made one more variant's file."""
    artifacts = {**state.artifacts, variant: path}
    return PassResult(replace(state, artifacts=artifacts), {"size_bytes": float(path.stat().st_size)})
