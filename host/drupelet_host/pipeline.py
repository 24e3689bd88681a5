"""Passes in order, each with a record of what it did."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel

from drupelet_host.lineage import record_pass
from drupelet_host.progress import SILENT, Observer
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


class Pipeline:
    """Runs passes one after another."""

    def __init__(self, passes: Sequence[Pass], *, observer: Observer = SILENT) -> None:
        self._passes = tuple(passes)
        self._observer = observer

    def run(self, state: CompileState) -> CompileState:
        """Run every pass; the result's lineage has one record for each.

        Raises:
            DrupeletError: A pass cannot do its work; those after it do not run.
        """
        parent = None
        for position, step in enumerate(self._passes, start=1):
            self._observer.pass_started(step.name, position=position, count=len(self._passes))
            start = time.perf_counter()
            result = step.run(state, observer=self._observer)
            seconds = time.perf_counter() - start
            digest = result.state.digest()
            record = record_pass(
                step.name, step.config, metrics=result.metrics, seconds=seconds, parent=parent, digest=digest
            )
            state = replace(result.state, lineage=(*state.lineage, record))
            parent = digest
            self._observer.pass_finished(step.name, seconds=seconds, metrics=result.metrics)
        return state
