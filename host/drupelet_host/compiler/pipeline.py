"""Passes in order, each with a record of what it did."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from drupelet_host.compiler.cache import FinishedPass, PassCache
from drupelet_host.compiler.lineage import record_pass
from drupelet_host.compiler.pass_protocol import Pass, PassResult
from drupelet_host.compiler.state import CompileState
from drupelet_host.progress.observer import SILENT, NotingObserver, Observer


class Pipeline:
    """Runs passes one after another, or takes what an earlier run of the same passes left in the cache.

    Args:
        passes: The passes, in order.
        observer: Receives progress.
        cache: The cache of finished passes; None for no cache.
        uncached: The names of passes that always run.
    """

    def __init__(
        self,
        passes: Sequence[Pass],
        *,
        observer: Observer = SILENT,
        cache: PassCache | None = None,
        uncached: frozenset[str] = frozenset(),
    ) -> None:
        self._passes = tuple(passes)
        self._observer = observer
        self._cache = cache
        self._uncached = uncached

    def run(self, state: CompileState, *, start: str = "") -> CompileState:
        """Run every pass; the result's lineage has one record for each.

        Args:
            state: What the first pass works on.
            start: The digest of all that it depends on, for the cache.

        Returns:
            The state after the last pass.

        Raises:
            DrupeletError: A pass cannot do its work; those after it do not run.
        """
        parent, key = None, start
        for position, step in enumerate(self._passes, start=1):
            self._observer.pass_started(step.name, position=position, count=len(self._passes))
            if self._cache is None or step.name in self._uncached:
                result, seconds = self._run(step, state)
            else:
                key = self._cache.key(step, key)
                result, seconds = self._resume(step, state, self._cache, key)
            digest = result.state.digest()
            record = record_pass(
                step.name, step.config, metrics=result.metrics, seconds=seconds, parent=parent, digest=digest
            )
            state = replace(result.state, lineage=(*state.lineage, record))
            parent = digest
            self._observer.pass_finished(step.name, seconds=seconds, metrics=result.metrics)
        return state

    def _run(self, step: Pass, state: CompileState, *, observer: Observer | None = None) -> tuple[PassResult, float]:
        start = time.perf_counter()
        result = step.run(state, observer=observer or self._observer)
        return result, time.perf_counter() - start

    def _resume(self, step: Pass, state: CompileState, cache: PassCache, key: str) -> tuple[PassResult, float]:
        found = cache.load(key, state)
        if found is not None:
            self._observer.decided(f"{step.name} was done before with the same input: taken from the cache")
            for decision in found.decisions:
                self._observer.decided(decision)
            return found.result, found.seconds
        noting = NotingObserver(self._observer)
        result, seconds = self._run(step, replace(state, workspace=cache.workspace(key)), observer=noting)
        finished = FinishedPass(result, seconds, tuple(noting.decisions))
        if problem := cache.store(key, state, finished):
            self._observer.decided(f"{step.name} is not cached: {problem}")
        return result, seconds
