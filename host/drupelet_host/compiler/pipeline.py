"""Passes in order, each with a record of what it did."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from drupelet_host.compiler.caching.cache import FinishedPass, PassCache
from drupelet_host.compiler.caching.locks import PassLocks
from drupelet_host.compiler.lineage import record_pass
from drupelet_host.compiler.pass_protocol import Pass, PassResult
from drupelet_host.compiler.state import CompileState
from drupelet_host.errors import ConstraintError
from drupelet_host.progress.observer import SILENT, NotingObserver, Observer
from drupelet_host.selection.continuation import SearchContinuation

# The pass that goes on when the last measurement misses a latency that it took for met, and how often it does.
_SEARCH = "prune"
_MAX_CONTINUATIONS = 3
# Stored once the judge has accepted it: a latency that missed its limit must not be found in the cache for ever.
_DEFERRED, _JUDGE = frozenset({"evaluate_variants"}), "constraints"
# How often a compile looks whether another one has finished the pass that both need.
_POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class _Reached:
    """The progress of a compile: the state, the digest of the last pass's output, and the cache key of that pass."""

    state: CompileState
    parent: str | None
    key: str

    def continued(self, continuation: SearchContinuation[Any]) -> _Reached:
        """Return the same with a continued search, which is part of the keys of later passes."""
        candidates = len(continuation.outcome.candidates)
        key = f"{self.key} continued after {candidates} candidates at {continuation.factor!r}"
        return _Reached(replace(self.state, continuation=continuation), self.parent, key)


class Pipeline:
    """Runs passes one after another, or takes their results from the cache.

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
        self._locks = None if cache is None else PassLocks(cache.folder)
        self._deferred: list[Callable[[], None]] = []

    def run(self, state: CompileState, *, start: str = "") -> CompileState:
        """Run every pass; the result's lineage has one record for each.

        Args:
            state: The state before the first pass.
            start: The digest of all that it depends on, for the cache.

        Returns:
            The state after the last pass.

        Raises:
            DrupeletError: A pass cannot do its work; those after it do not run.
        """
        try:
            return self._run_all(state, start)
        finally:
            # Until then this run reads from the folders of what it has made, also where nothing could be stored.
            if self._locks is not None:
                self._locks.release()

    def _run_all(self, state: CompileState, start: str) -> CompileState:
        reached = _Reached(state, None, start)
        before: dict[str, _Reached] = {}
        position = continuations = 0
        while position < len(self._passes):
            step = self._passes[position]
            before[step.name] = reached
            try:
                reached = self._take(step, reached, position=position + 1)
            except ConstraintError as error:
                if error.goes_on is None or _SEARCH not in before or continuations == _MAX_CONTINUATIONS:
                    raise
                continuations += 1
                self._observer.decided(_describe_continuation(error.goes_on))
                reached = before[_SEARCH].continued(error.goes_on)
                position = [each.name for each in self._passes].index(_SEARCH)
                self._deferred.clear()
            else:
                position += 1
                if step.name == _JUDGE:
                    self._store_deferred()
        self._store_deferred()
        return reached.state

    def _store_deferred(self) -> None:
        for store in self._deferred:
            store()
        self._deferred.clear()

    def _take(self, step: Pass, reached: _Reached, *, position: int) -> _Reached:
        state, key = reached.state, reached.key
        self._observer.pass_started(step.name, position=position, count=len(self._passes))
        if self._cache is None or step.name in self._uncached:
            result, seconds = self._run(step, state)
        else:
            key = self._cache.key(step, key)
            result, seconds = self._resume(step, state, self._cache, key)
        digest = result.state.digest()
        record = record_pass(
            step.name, step.config, metrics=result.metrics, seconds=seconds, parent=reached.parent, digest=digest
        )
        state = replace(result.state, lineage=(*state.lineage, record))
        self._observer.pass_finished(step.name, seconds=seconds, metrics=result.metrics)
        return _Reached(state, digest, key)

    def _run(self, step: Pass, state: CompileState, *, observer: Observer | None = None) -> tuple[PassResult, float]:
        start = time.perf_counter()
        result = step.run(state, observer=observer or self._observer)
        return result, time.perf_counter() - start

    def _resume(self, step: Pass, state: CompileState, cache: PassCache, key: str) -> tuple[PassResult, float]:
        cached = self._load_or_lock(step, state, cache, key)
        if cached is not None:
            self._observer.decided(f"{step.name} was done before with the same input: taken from the cache")
            for decision in cached.decisions:
                self._observer.decided(decision)
            return cached.result, cached.seconds
        noting = NotingObserver(self._observer)
        started = replace(state, workspace=cache.workspace(key), unfinished=cache.unfinished(key))
        result, seconds = self._run(step, started, observer=noting)
        finished = FinishedPass(result, seconds, tuple(noting.decisions))
        if step.name in _DEFERRED:
            self._deferred.append(partial(self._store, step, key, state, finished))
        else:
            self._store(step, key, state, finished)
        return result, seconds

    def _load_or_lock(self, step: Pass, state: CompileState, cache: PassCache, key: str) -> FinishedPass | None:
        """Return the cached result, after a wait if another compile makes it now; else None, and the pass is locked."""
        assert self._locks is not None, "the caller has a cache"
        is_waiting = False
        while (cached := cache.load(key, state)) is None and not self._locks.take(key):
            if not is_waiting:
                self._observer.decided(f"{step.name}: waiting for {self._locks.holder(key)}, which makes the same")
                is_waiting = True
            time.sleep(_POLL_S)
        # The holder may have finished between the two.
        return cached or cache.load(key, state)

    def _store(self, step: Pass, key: str, state: CompileState, finished: FinishedPass) -> None:
        assert self._cache is not None, "the caller has a cache"
        if problem := self._cache.store(key, state, finished):
            self._observer.decided(f"{step.name} is not cached: {problem}")


def _describe_continuation(continuation: SearchContinuation[Any]) -> str:
    return (
        "the last measurement disagrees with the search, which goes on from where it was, aiming for "
        f"{continuation.factor:.1%} of the limit on the latency"
    )
