"""A search with several paths at a time: each goes its own way, and those that fall behind go on from a better one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from torch import nn

from drupelet_host.compute.backend import ComputeBackend, Shared, Task, run_tasks
from drupelet_host.pruning.ratio.progressive import PruningResult
from drupelet_host.pruning.search.budget import SearchBudget
from drupelet_host.pruning.search.path import SearchPath
from drupelet_host.pruning.search.position import Position, SearchState
from drupelet_host.pruning.structure.groups import Importance, PrunableGroup
from drupelet_host.selection.frontier import JudgedCandidate
from drupelet_host.selection.judge import CandidateResult

JudgeAll = Callable[[Sequence[nn.Module]], list[CandidateResult]]

# The first path is the search without a beam. The others differ in the size of their steps and in what goes first.
_STRIDE_FACTORS = (1.0, 0.5, 0.25)
_OTHER_IMPORTANCE: Mapping[Importance, Importance] = {"l1": "taylor", "l2": "taylor", "taylor": "l2"}
_SEED_STEP = 1000


@dataclass(slots=True, kw_only=True)
class BeamPath:
    """One path of a beam.

    Attributes:
        number: Its number, from 0.
        search: How it steps; its budget is its own.
        position: Where it is.
        state: How its next step is chosen.
        stride: The share of the cost that its first step removes.
        trials: How many candidates it has made.
        kept: The numbers of the candidates that led to its position.
        is_over: Whether it has no further step.
    """

    number: int
    search: SearchPath
    position: Position
    state: SearchState
    stride: float
    trials: int = 0
    kept: tuple[int, ...] = ()
    is_over: bool = False

    @property
    def is_live(self) -> bool:
        """Whether it makes another candidate."""
        return (
            not self.is_over and self.position.result.excess != 0 and not self.search.budget.spent(trials=self.trials)
        )


@dataclass(frozen=True, slots=True)
class Step:
    """A step that a worker has made, not yet judged.

    Attributes:
        model: The pruned and recovered model.
        channels: Its channels by group.
        passes: How many passes over the training data that took.
    """

    model: nn.Module
    channels: Mapping[str, int]
    passes: int


@dataclass(slots=True, kw_only=True)
class Beam:
    """A search along several paths, whose steps are tasks; its result depends on their number and on no worker.

    Attributes:
        first: The search without a beam, which is the first path.
        width: The number of paths.
        groups: The groups that can be pruned, by name.
        judged: The variants that steps are judged as.
        judge_all: Measures candidates as they would ship.
        compute: What makes the steps.
        threads: The threads of a step.
        candidates: Every candidate so far, with the number of its path.
    """

    first: SearchPath
    width: int
    groups: Mapping[str, PrunableGroup]
    judged: tuple[str, ...]
    judge_all: JudgeAll
    compute: ComputeBackend
    threads: int
    candidates: list[JudgedCandidate] = field(default_factory=list)

    def run(
        self, start: Position, state: SearchState, *, before: Mapping[str, int], candidates: Sequence[JudgedCandidate]
    ) -> PruningResult:
        """Search from a position.

        Args:
            start: The position.
            state: How the first step is chosen.
            before: The channels of the original.
            candidates: What was judged before.

        Returns:
            The best position of all paths, with every candidate.
        """
        self.candidates = list(candidates)
        paths = [self._make_path(number, start, state) for number in range(self.width)]
        bench = [self.compute.share(path.search.for_worker()) for path in paths]
        self.first.observer.decided(f"searching along {self.width} paths at a time")
        while live := [path for path in paths if path.is_live]:
            self._advance(live, bench)
            self._replace_dominated(paths)
        best = self._choose(paths)
        self.first.observer.decided(f"the search ends: path {best.number} of {self.width} is the best")
        return PruningResult(
            model=best.position.model,
            metric=best.position.result.metric(self.judged),
            baseline=self.first.baseline,
            channels={name: (count, best.position.channels[name]) for name, count in before.items()},
            steps=(),
            candidates=tuple(self._mark_kept(best)),
            passes=sum(path.search.budget.passes for path in paths),
        )

    def _make_path(self, number: int, start: Position, state: SearchState) -> BeamPath:
        factor = _STRIDE_FACTORS[number // 2 % len(_STRIDE_FACTORS)]
        # Neighbours differ in what goes first, pairs in their strides, and beyond those all in their seeds.
        settings = self.first.settings
        if number % 2:
            settings = replace(settings, importance=_OTHER_IMPORTANCE[settings.importance])
        settings = replace(settings, seed=settings.seed + number * _SEED_STEP)
        budget = SearchBudget(settings.max_trials, settings.max_passes, settings.max_minutes)
        budget.passes = self.first.budget.passes
        stride = state.stride * factor
        search = replace(self.first, settings=settings, budget=budget)
        return BeamPath(
            number=number,
            search=search,
            position=start,
            state=replace(state, stride=stride),
            stride=stride,
            trials=len(self.candidates) - 1,
        )

    def _advance(self, live: Sequence[BeamPath], bench: Sequence[Shared]) -> None:
        """Make one candidate along each path."""
        tasks = [
            Task(
                f"candidate {path.trials + 1} of path {path.number}",
                take_step,
                (
                    bench[path.number],
                    self.compute.share(path.position),
                    path.state,
                    path.trials + 1,
                    path.search.budget.passes,
                ),
                threads=self.threads,
            )
            for path in live
        ]
        steps: list[Step | None] = run_tasks(self.compute, tasks, on_done=self._report)
        moved = [(path, step) for path, step in zip(live, steps, strict=True) if step is not None]
        for path, step in zip(live, steps, strict=True):
            if step is None:
                self._relax_or_end(path)
        attempts = self._judge(moved)
        near = [(path, attempt) for path, attempt in attempts if self._is_near(path, attempt)]
        again = dict(zip([path.number for path, _ in near], self._recover_again(near, bench), strict=True))
        for path, attempt in attempts:
            self._decide(path, again.get(path.number, attempt))

    def _report(self, name: str, done: int, total: int) -> None:
        self.first.observer.progressed(f"{name} is recovered", done=done, total=total)

    def _judge(self, moved: Sequence[tuple[BeamPath, Step]]) -> list[tuple[BeamPath, Position]]:
        for path, step in moved:
            path.search.budget.passes += step.passes
        results = self.judge_all([step.model for _, step in moved])
        return [
            (path, Position(step.model, step.channels, result))
            for (path, step), result in zip(moved, results, strict=True)
        ]

    def _is_near(self, path: BeamPath, attempt: Position) -> bool:
        metric = attempt.result.metric(self.judged)
        return not path.search.budget.spent() and path.search.misses_narrowly(metric, path.state)

    def _recover_again(self, near: Sequence[tuple[BeamPath, Position]], bench: Sequence[Shared]) -> list[Position]:
        tasks = [
            Task(
                f"candidate {path.trials + 1} of path {path.number} once more",
                recover_step,
                (bench[path.number], self.compute.share(attempt), path.trials + 1, path.search.budget.passes),
                threads=self.threads,
            )
            for path, attempt in near
        ]
        steps: list[Step] = run_tasks(self.compute, tasks, on_done=self._report)
        return [
            position for _, position in self._judge([(path, step) for (path, _), step in zip(near, steps, strict=True)])
        ]

    def _decide(self, path: BeamPath, attempt: Position) -> None:
        kept, reason = path.search.decide(attempt.result.metric(self.judged), path.state)
        number = len(self.candidates)
        candidate = path.search.candidate(number, attempt, kept=kept, reason=f"path {path.number}: {reason}")
        self.candidates.append(candidate)
        path.search.tell(candidate, self.judged)
        path.trials += 1
        if kept:
            path.state = path.search.renewed(path.state, attempt)
            path.position, path.kept = attempt, (*path.kept, number)
        else:
            path.state = path.search.narrowed(path.state, path.position, attempt, self.groups)

    def _relax_or_end(self, path: BeamPath) -> None:
        if path.search.may_relax(path.position, path.state, self.groups):
            path.state = path.search.relaxed(path.state, stride=path.stride)
        else:
            path.is_over = True

    def _replace_dominated(self, paths: Sequence[BeamPath]) -> None:
        """Let a path go on from a better position; the first goes its own way, so that no beam is worse than it."""
        for path in paths[1:]:
            better = [other for other in paths if other is not path and self._dominates(other, path)]
            if not better or path.position.result.excess == 0:
                continue
            best = max(better, key=self._rank)
            self.first.observer.decided(f"path {path.number} goes on from where path {best.number} is, which is better")
            stride = min(path.stride, best.state.stride)
            path.position, path.kept, path.is_over = best.position, best.kept, False
            path.state = replace(best.state, stride=stride)

    def _dominates(self, one: BeamPath, other: BeamPath) -> bool:
        ours, theirs = self._place(one), self._place(other)
        return all(a >= b for a, b in zip(ours, theirs, strict=True)) and ours != theirs

    def _place(self, path: BeamPath) -> tuple[float, float]:
        """Return the metric and how little the model costs."""
        return path.position.result.metric(self.judged), -self._cost(path)

    def _cost(self, path: BeamPath) -> float:
        """Return how far a path is beyond the constraints on cost; without any, its share of the original's cost."""
        excess = path.position.result.excess
        if excess is not None:
            return excess
        measure, example = path.state.measure, self.first.example_input
        whole = measure.count(self.first.original, example)
        return measure.share(measure.count(path.position.model, example), whole)

    def _rank(self, path: BeamPath) -> tuple[float, float, int]:
        """Return what the best path has most of.

        With a limit on cost, the least beyond it and then the metric; without, the least cost: every position keeps the
        metric. The first of equal ones.
        """
        metric, cheapness = self._place(path)
        return cheapness, metric, -path.number

    def _choose(self, paths: Sequence[BeamPath]) -> BeamPath:
        return max(paths, key=self._rank)

    def _mark_kept(self, best: BeamPath) -> list[JudgedCandidate]:
        """Return the candidates, of which only those that led to the result count as kept."""
        way = {0, *best.kept}
        return [
            candidate if candidate.number in way or not candidate.kept else replace(candidate, kept=False)
            for candidate in self.candidates
        ]


def take_step(search: SearchPath, position: Position, state: SearchState, number: int, passes: int) -> Step | None:
    """Plan, prune and recover one candidate.

    Args:
        search: How the path steps.
        position: Where it is.
        state: How its next step is chosen.
        number: The number of the candidate on its path, from which the seed follows.
        passes: The passes over the training data that the path has made.

    Returns:
        The candidate; None where no further step is possible.
    """
    search = search.with_passes(passes)
    channels = search.next_channels(position, state, search.find_groups())
    if channels is None:
        return None
    attempt = search.attempt(position, channels, number=number)
    return Step(attempt.model, attempt.channels, search.budget.passes - passes)


def recover_step(search: SearchPath, attempt: Position, number: int, passes: int) -> Step:
    """Recover a candidate once more, more gently.

    Args:
        search: How the path steps.
        attempt: The candidate.
        number: Its number on its path.
        passes: The passes over the training data that the path has made.

    Returns:
        The candidate.
    """
    search = search.with_passes(passes)
    again = search.attempt_again(attempt, number=number)
    return Step(again.model, again.channels, search.budget.passes - passes)
