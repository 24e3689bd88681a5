"""The search for how far each group is pruned, where constraints are stated and no ratio."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import nn

from drupelet_host.data.dataset import Dataset
from drupelet_host.evaluation.cost import count_macs, count_parameters
from drupelet_host.progress.observer import Observer
from drupelet_host.pruning.importance import label_samples, prune_least_important
from drupelet_host.pruning.ratio.policy import layer_factors
from drupelet_host.pruning.ratio.progressive import PruningResult
from drupelet_host.pruning.search.budget import Effort
from drupelet_host.pruning.search.choice import Prospects
from drupelet_host.pruning.search.settings import SearchSettings
from drupelet_host.pruning.search.steps import plan_step
from drupelet_host.pruning.sensitivity import SensitivityCurve, analyze_sensitivity
from drupelet_host.pruning.structure.groups import PrunableGroup, find_groups
from drupelet_host.pruning.structure.padding_trim import trim_dead_taps
from drupelet_host.pruning.structure.widths import next_width
from drupelet_host.recipe.schema import RecoveryConfig
from drupelet_host.selection.frontier import Candidate
from drupelet_host.selection.judge import Verdict
from drupelet_host.selection.metric_limit import MetricLimit
from drupelet_host.training.recovery import Evaluate, Lessons, count_passes, prepare_lessons, recover

__all__ = ["SearchSettings", "search_pruning"]

# A smaller model is cheaper to recover, so the way down is short: what one large step breaks, a long recovery mends.
_FIRST_STRIDE = 0.85
# A constraint is worth small steps at the end; without one, what a smaller step saves is not worth its recovery.
_SMALLEST_STRIDE, _SMALLEST_FREE_STRIDE = 0.08, 0.2
# Where nothing but the metric ends the search, it spends this share of what may be lost: all candidates are measured on
# the same samples, and the smallest that passes is flattered by them.
_SPENT_SHARE = 0.5
# Where the result must be better than the original it aims a little higher, for the same reason.
_RESERVE = 0.0005
# A candidate that misses the limit by less than this share of what may be lost is recovered once more, more gently.
_NEAR_MISS = 0.5
_GENTLER = 0.5
# Aims a little beyond the constraint: the cost that is counted is not quite the one that is measured.
_OVERSHOOT = 1.15
# The curves are measured again once this much of the cost they were measured at is gone.
_STALE_SHARE = 0.5
_RENEWED_RATIOS = (0.5,)


def search_pruning(
    model: nn.Module,
    train: Dataset,
    evaluate: Evaluate,
    judge: Callable[[nn.Module], Verdict],
    *,
    baseline: float,
    curves: Mapping[str, SensitivityCurve],
    settings: SearchSettings,
    observer: Observer,
) -> PruningResult:
    """Prune a copy step by step until the constraints are met or, without any on cost, until the metric is spent.

    It starts from a copy without the kernel taps that see only padding, which computes the same. A step removes the
    channels that save most for the loss the curves predict, is fine-tuned, exported, quantized and measured; one that
    misses by little is fine-tuned once more. It stays if the quantized model keeps the metric in every engine; else it
    is taken back and half of it is tried. The same seed gives the same weights on the same machine, unless a latency is
    constrained or `max_minutes` ends the search: times are never the same twice.

    Args:
        model: The original; it is left as it is.
        train: What recovers; the result is for inputs of exactly its shape.
        evaluate: Gives a module's metric during recovery, higher is better.
        judge: Measures a candidate as it would ship.
        baseline: The original's metric in the engine.
        curves: Sensitivity by group.
        settings: Limits and means.
        observer: Is told why each step was kept or taken back.

    Raises:
        ExportError: A candidate cannot be exported or quantized.
        ModelError: The model cannot be traced.
    """
    search = _Search(
        original=copy.deepcopy(model).eval(),
        train=train,
        lessons=prepare_lessons(
            copy.deepcopy(model),
            train,
            device=settings.device,
            augment=settings.recovery.augment,
            seed=settings.seed,
        ),
        samples=label_samples(model, train),
        evaluate=evaluate,
        judge=judge,
        baseline=baseline,
        settings=settings,
        observer=observer,
        effort=Effort(settings.max_trials, settings.max_passes, settings.max_minutes),
    )
    return search.run(curves)


@dataclass(frozen=True, slots=True)
class _Position:
    """A model the search has been at, and what it measured."""

    model: nn.Module
    channels: Mapping[str, int]
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class _Course:
    """How the next step is chosen.

    Attributes:
        stride: The share of the cost it removes.
        drop: What the metric may lose.
        blocked: Groups whose next block could not be recovered.
        curves: Sensitivity, renewed on the way.
        curves_at: The parameters and MACs of the model they were measured on.
    """

    stride: float
    drop: float
    blocked: frozenset[str]
    curves: Mapping[str, SensitivityCurve]
    curves_at: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Search:
    original: nn.Module
    train: Dataset
    lessons: Lessons
    samples: Dataset
    evaluate: Evaluate
    judge: Callable[[nn.Module], Verdict]
    baseline: float
    settings: SearchSettings
    observer: Observer
    effort: Effort

    @property
    def example_input(self) -> torch.Tensor:
        return torch.from_numpy(self.train.inputs[:1])

    def _enough(self, verdict: Verdict) -> float:
        """The metric at which recovery ends early.

        Where nothing but the metric is constrained it goes on beyond the original, by as much as may be lost: what a
        step has to spare, the next ones can spend.
        """
        drop = self.settings.max_metric_drop
        if drop < 0:
            return self._lowest(drop - _RESERVE)
        return self._lowest(-drop) if verdict.excess is None else self.baseline

    def run(self, curves: Mapping[str, SensitivityCurve]) -> PruningResult:
        groups = {group.name: group for group in find_groups(self.original, self.example_input)}
        before = {name: group.channels for name, group in groups.items()}
        start = self._without_dead_taps()
        position = _Position(start, before, self.judge(start))
        judged = self._choose_variants(position.verdict, drop=self.settings.max_metric_drop)
        course = self._first_course(position, curves)
        candidates = [
            self._candidate(0, position, kept=True, reason=f"unpruned; steps are judged as {' and '.join(judged)}")
        ]
        self._tell(candidates[-1], judged)
        while position.verdict.excess != 0 and not self.effort.spent(trials=len(candidates) - 1):
            channels = self._next_channels(position, course, groups)
            if channels is None:
                if not self._may_relax(position, course, groups):
                    break
                course = replace(course, drop=2 * course.drop, stride=_FIRST_STRIDE, blocked=frozenset())
                self.observer.decided(f"no max_metric_drop was stated: going on with a limit of {course.drop:.4g}")
                continue
            attempt = self._attempt(position, channels, number=len(candidates))
            if not self.effort.spent() and self._misses_narrowly(attempt.verdict.metric(judged), course):
                attempt = self._attempt_again(attempt, number=len(candidates))
            kept, reason = self._decide(attempt.verdict.metric(judged), course)
            candidates.append(self._candidate(len(candidates), attempt, kept=kept, reason=reason))
            self._tell(candidates[-1], judged)
            course = self._renewed(course, attempt) if kept else self._narrowed(course, position, attempt, groups)
            position = attempt if kept else position
        self._say_why_it_ended(position, trials=len(candidates) - 1)
        return PruningResult(
            model=position.model,
            metric=position.verdict.metric(judged),
            baseline=self.baseline,
            channels={name: (count, position.channels[name]) for name, count in before.items()},
            steps=(),
            candidates=tuple(candidates),
            passes=self.effort.passes,
        )

    def _first_course(self, position: _Position, curves: Mapping[str, SensitivityCurve]) -> _Course:
        drop = self.settings.max_metric_drop
        if position.verdict.excess is None:
            drop = drop * _SPENT_SHARE if drop >= 0 else drop - _RESERVE
            self.observer.decided(f"nothing but the metric is constrained: spending {drop:.4g} of what may be lost")
        return _Course(_FIRST_STRIDE, drop, frozenset(), curves, self._cost(self.original))

    def _choose_variants(self, verdict: Verdict, *, drop: float) -> tuple[str, ...]:
        lowest = self._lowest(drop)
        return tuple(
            next((name for name in names if verdict.measurements[name].metric >= lowest), names[-1])
            for names in self.settings.variants
        )

    def _lowest(self, drop: float) -> float:
        return MetricLimit(self.baseline, drop).lowest

    def _without_dead_taps(self) -> nn.Module:
        model = copy.deepcopy(self.original)
        removed = trim_dead_taps(model, self.example_input)
        if removed:
            self.observer.decided(f"cut {removed} weights of kernels that see only padding: the outputs stay the same")
        return model

    def _next_channels(
        self, position: _Position, course: _Course, groups: Mapping[str, PrunableGroup]
    ) -> dict[str, int] | None:
        if course.stride < (_SMALLEST_FREE_STRIDE if position.verdict.excess is None else _SMALLEST_STRIDE):
            return None
        excess = position.verdict.excess
        chosen = plan_step(
            position.model,
            self.example_input,
            position.channels,
            goal=course.stride if excess is None else min(course.stride, excess * _OVERSHOOT),
            prospects=Prospects(
                savings={},
                curves=course.curves,
                factors=layer_factors(list(groups.values()), self.settings.layers),
                multiple=self.settings.channel_multiple,
                groups=groups,
            ),
            weights=self.settings.weights,
            blocked=course.blocked,
        )
        return None if chosen == position.channels else chosen

    def _may_relax(self, position: _Position, course: _Course, groups: Mapping[str, PrunableGroup]) -> bool:
        if self.settings.drop_is_stated or position.verdict.excess is None or course.drop >= self.baseline:
            return False
        # With nothing left to remove, no limit helps.
        return any(self._next_width(count, groups[name]) < count for name, count in position.channels.items())

    def _next_width(self, count: int, group: PrunableGroup) -> int:
        return next_width(count, multiple=self.settings.channel_multiple, group=group)

    def _attempt(self, position: _Position, channels: Mapping[str, int], *, number: int) -> _Position:
        model = copy.deepcopy(position.model).requires_grad_(requires_grad=True)
        removals = {name: position.channels[name] - count for name, count in channels.items()}
        prune_least_important(
            model,
            self.example_input,
            removals,
            importance=self.settings.importance,
            samples=self.samples,
            device=self.settings.device,
        )
        enough = self._enough(position.verdict)
        return self._recovered(model, channels, number=number, recovery=self.settings.recovery, enough=enough)

    def _attempt_again(self, attempt: _Position, *, number: int) -> _Position:
        self.observer.decided(f"candidate {number} misses narrowly: recovering it once more")
        model = copy.deepcopy(attempt.model).requires_grad_(requires_grad=True)
        recovery = self.settings.recovery
        gentler = recovery.model_copy(update={"learning_rate": recovery.learning_rate * _GENTLER})
        enough = self._enough(attempt.verdict)
        return self._recovered(model, attempt.channels, number=number, recovery=gentler, enough=enough)

    def _recovered(
        self,
        model: nn.Module,
        channels: Mapping[str, int],
        *,
        number: int,
        recovery: RecoveryConfig,
        enough: float,
    ) -> _Position:
        passes = self.effort.allow(count_passes(model, self.lessons, recovery))
        recover(
            model,
            self.lessons,
            self.evaluate,
            config=recovery,
            seed=self.settings.seed + number,
            enough=enough,
            passes=passes,
            on_epoch=partial(self._progressed, number, passes),
        )
        return _Position(model, channels, self.judge(model))

    def _progressed(self, number: int, passes: int, epoch: int, metric: float) -> None:
        self.effort.count_pass()
        trials = self.settings.max_trials
        what = f"candidate {number} of at most {trials}, epoch {epoch} of at most {passes}: metric {metric:.4f}"
        self.observer.progressed(what, done=(number - 1) * passes + epoch, total=trials * passes)

    def _misses_narrowly(self, metric: float, course: _Course) -> bool:
        lowest = self._lowest(course.drop)
        return self.settings.recovery.epochs > 0 and lowest - _NEAR_MISS * abs(course.drop) <= metric < lowest

    def _decide(self, metric: float, course: _Course) -> tuple[bool, str]:
        lowest = self._lowest(course.drop)
        if metric >= lowest:
            return True, f"kept: metric {metric:.4f}, at least {lowest:.4f}"
        return False, f"taken back: metric {metric:.4f} after recovery, below {lowest:.4f}"

    def _renewed(self, course: _Course, attempt: _Position) -> _Course:
        cost = self._cost(attempt.model)
        if all(now > then * _STALE_SHARE for now, then in zip(cost, course.curves_at, strict=True)):
            return course
        curves = analyze_sensitivity(
            attempt.model,
            self.example_input,
            self.evaluate,
            ratios=_RENEWED_RATIOS,
            importance=self.settings.importance,
            samples=self.samples,
            device=self.settings.device,
        )
        self.observer.decided("the model has halved: measured its sensitivity again")
        return replace(course, curves=curves, curves_at=cost, blocked=frozenset())

    def _narrowed(
        self, course: _Course, position: _Position, attempt: _Position, groups: Mapping[str, PrunableGroup]
    ) -> _Course:
        moved = [name for name, count in attempt.channels.items() if count < position.channels[name]]
        if len(moved) == 1 and attempt.channels[moved[0]] == self._next_width(
            position.channels[moved[0]], groups[moved[0]]
        ):
            # One block cannot be halved: the other groups may still have some to give.
            return replace(course, blocked=course.blocked | {moved[0]})
        excess = position.verdict.excess
        return replace(course, stride=min(course.stride, excess or course.stride) / 2)

    def _cost(self, model: nn.Module) -> tuple[int, int]:
        return count_parameters(model), count_macs(model, self.example_input)

    def _candidate(self, number: int, position: _Position, *, kept: bool, reason: str) -> Candidate:
        parameters, macs = self._cost(position.model)
        return Candidate(
            number=number,
            measurements=position.verdict.measurements,
            parameters=parameters,
            macs=macs,
            kept=kept,
            reason=reason,
        )

    def _tell(self, candidate: Candidate, variants: tuple[str, ...]) -> None:
        sizes = [f"{candidate.measurements[name].size_bytes} bytes as {name}" for name in variants]
        what = f"candidate {candidate.number}: {candidate.parameters} parameters, {', '.join(sizes)}"
        self.observer.decided(f"{what}: {candidate.reason}")

    def _say_why_it_ended(self, position: _Position, *, trials: int) -> None:
        if position.verdict.excess == 0:
            reason = "the constraints are met"
        else:
            reason = self.effort.spent(trials=trials) or "no further step keeps the metric"
        self.observer.decided(f"the search ends: {reason}")
