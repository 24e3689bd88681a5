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
from drupelet_host.pruning.rewriting.padding_trim import trim_padding
from drupelet_host.pruning.search.budget import SearchBudget
from drupelet_host.pruning.search.choice import ChannelChoice
from drupelet_host.pruning.search.savings import CostMeasure
from drupelet_host.pruning.search.settings import SearchSettings
from drupelet_host.pruning.search.steps import plan_step
from drupelet_host.pruning.sensitivity import SensitivityCurve, analyze_sensitivity
from drupelet_host.pruning.structure.groups import PrunableGroup, find_groups
from drupelet_host.pruning.widths import next_width
from drupelet_host.recipe.schema import RecoveryConfig
from drupelet_host.selection.frontier import JudgedCandidate
from drupelet_host.selection.judge import CandidateResult
from drupelet_host.selection.metric_limit import MetricLimit
from drupelet_host.training.recovery import Evaluate, TrainingData, count_passes, prepare_training_data, recover

__all__ = ["SearchSettings", "search_pruning"]

# A smaller model is cheaper to recover, so the steps are large: a long recovery compensates the loss of each.
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
    judge: Callable[[nn.Module], CandidateResult],
    *,
    baseline: float,
    curves: Mapping[str, SensitivityCurve],
    settings: SearchSettings,
    observer: Observer,
    resumed: PruningResult | None = None,
) -> PruningResult:
    """Prune a copy step by step until the constraints are met or, without any on cost, until the metric is spent.

    It starts from a copy without the kernel taps that see only padding, which computes the same. A step removes the
    channels that save most for the loss the curves predict, is fine-tuned, exported, quantized and measured; one that
    misses by little is fine-tuned once more. It stays if the quantized model keeps the metric in every engine; else it
    is rolled back and half of it is tried. The same seed gives the same weights on the same machine, unless a latency
    is constrained or `max_minutes` ends the search: times are never the same twice.

    Args:
        model: The original; it is left as it is.
        train: What recovers; the result is for inputs of exactly its shape.
        evaluate: Gives a module's metric during recovery, higher is better.
        judge: Measures a candidate as it would ship.
        baseline: The original's metric in the engine.
        curves: Sensitivity by group.
        settings: Limits and means.
        observer: Is told why each step was kept or rolled back.
        resumed: An earlier search that this one goes on from, within the same limits on trials and passes.

    Returns:
        The pruned model with its metric and steps.

    Raises:
        ExportError: A candidate cannot be exported or quantized.
        ModelError: The model cannot be traced.
    """
    search = _Search(
        original=copy.deepcopy(model).eval(),
        train=train,
        training_data=prepare_training_data(
            model,
            train,
            device=settings.device,
            augment=settings.recovery.augment,
            seed=settings.seed,
            finished=settings.finished,
        ),
        samples=label_samples(model, train),
        evaluate=evaluate,
        judge=judge,
        baseline=baseline,
        settings=settings,
        observer=observer,
        budget=SearchBudget(settings.max_trials, settings.max_passes, settings.max_minutes),
    )
    if resumed is not None:
        search.budget.passes = resumed.passes
    return search.run(curves, resumed)


@dataclass(frozen=True, slots=True)
class _Position:
    """A model the search has been at, and what it measured."""

    model: nn.Module
    channels: Mapping[str, int]
    result: CandidateResult


@dataclass(frozen=True, slots=True)
class _SearchState:
    """How the next step is chosen.

    Attributes:
        stride: The share of the cost it removes.
        drop: What the metric may lose.
        blocked: Groups whose next block could not be recovered.
        curves: Sensitivity, renewed on the way.
        curves_at: The parameters and MACs of the model they were measured on.
        measure: What a step's cost is counted by.
    """

    stride: float
    drop: float
    blocked: frozenset[str]
    curves: Mapping[str, SensitivityCurve]
    curves_at: tuple[int, int]
    measure: CostMeasure


@dataclass(frozen=True, slots=True, kw_only=True)
class _Search:
    original: nn.Module
    train: Dataset
    training_data: TrainingData
    samples: Dataset
    evaluate: Evaluate
    judge: Callable[[nn.Module], CandidateResult]
    baseline: float
    settings: SearchSettings
    observer: Observer
    budget: SearchBudget

    @property
    def example_input(self) -> torch.Tensor:
        return torch.from_numpy(self.train.inputs[:1])

    def _enough(self, result: CandidateResult) -> float:
        """Return the metric at which recovery ends early.

        Where nothing but the metric is constrained it goes on beyond the original, by as much as may be lost: what a
        step has to spare, the next ones can spend.
        """
        drop = self.settings.max_metric_drop
        if drop < 0:
            return self._lowest(drop - _RESERVE)
        return self._lowest(-drop) if result.excess is None else self.baseline

    def run(self, curves: Mapping[str, SensitivityCurve], resumed: PruningResult | None = None) -> PruningResult:
        groups = {group.name: group for group in find_groups(self.original, self.example_input)}
        before = {name: group.channels for name, group in groups.items()}
        position = self._start(before, resumed)
        judged = self._choose_variants(position.result, drop=self.settings.max_metric_drop)
        state = self._first_state(position, curves, self.settings.measure_cost(judged))
        candidates = list(resumed.candidates) if resumed is not None else []
        if not candidates:
            reason = f"unpruned; steps are judged as {' and '.join(judged)}"
            candidates.append(self._candidate(0, position, kept=True, reason=reason))
            self._tell(candidates[-1], judged)
        while position.result.excess != 0 and not self.budget.spent(trials=len(candidates) - 1):
            channels = self._next_channels(position, state, groups)
            if channels is None:
                if not self._may_relax(position, state, groups):
                    break
                state = replace(state, drop=2 * state.drop, stride=_FIRST_STRIDE, blocked=frozenset())
                self.observer.decided(f"no max_metric_drop was stated: going on with a limit of {state.drop:.4g}")
                continue
            attempt = self._attempt(position, channels, number=len(candidates))
            if not self.budget.spent() and self._misses_narrowly(attempt.result.metric(judged), state):
                attempt = self._attempt_again(attempt, number=len(candidates))
            kept, reason = self._decide(attempt.result.metric(judged), state)
            candidates.append(self._candidate(len(candidates), attempt, kept=kept, reason=reason))
            self._tell(candidates[-1], judged)
            state = self._renewed(state, attempt) if kept else self._narrowed(state, position, attempt, groups)
            position = attempt if kept else position
        self._say_why_it_ended(position, trials=len(candidates) - 1)
        return PruningResult(
            model=position.model,
            metric=position.result.metric(judged),
            baseline=self.baseline,
            channels={name: (count, position.channels[name]) for name, count in before.items()},
            steps=(),
            candidates=tuple(candidates),
            passes=self.budget.passes,
        )

    def _start(self, before: Mapping[str, int], resumed: PruningResult | None) -> _Position:
        if resumed is None:
            start = self._without_padding_taps()
            return _Position(start, before, self.judge(start))
        model = copy.deepcopy(resumed.model).eval()
        return _Position(model, {name: after for name, (_, after) in resumed.channels.items()}, self.judge(model))

    def _first_state(
        self, position: _Position, curves: Mapping[str, SensitivityCurve], measure: CostMeasure
    ) -> _SearchState:
        drop = self.settings.max_metric_drop
        if position.result.excess is None:
            drop = drop * _SPENT_SHARE if drop >= 0 else drop - _RESERVE
            self.observer.decided(f"nothing but the metric is constrained: spending {drop:.4g} of what may be lost")
        return _SearchState(_FIRST_STRIDE, drop, frozenset(), curves, self._cost(self.original), measure)

    def _choose_variants(self, result: CandidateResult, *, drop: float) -> tuple[str, ...]:
        lowest = self._lowest(drop)
        # A model that cannot be int8 is measured in float alone.
        measured = [[name for name in names if name in result.measurements] for names in self.settings.variants]
        if self.settings.by_latency:
            # Where none keeps the metric the last counts, which then has to be the float variant still.
            times = {name: each.target_latency.p50_ms for name, each in result.measurements.items()}
            good = [[name for name in names if result.measurements[name].metric >= lowest] for names in measured]
            return tuple(
                min(fit, key=lambda name: times[name]) if fit else names[-1]
                for fit, names in zip(good, measured, strict=True)
            )
        return tuple(
            next((name for name in names if result.measurements[name].metric >= lowest), names[-1])
            for names in measured
        )

    def _lowest(self, drop: float) -> float:
        return MetricLimit(self.baseline, drop).lowest

    def _without_padding_taps(self) -> nn.Module:
        model = copy.deepcopy(self.original)
        removed = trim_padding(model, self.example_input)
        if removed:
            self.observer.decided(f"cut {removed} weights of kernels that see only padding: the outputs stay the same")
        return model

    def _next_channels(
        self, position: _Position, state: _SearchState, groups: Mapping[str, PrunableGroup]
    ) -> dict[str, int] | None:
        if state.stride < (_SMALLEST_FREE_STRIDE if position.result.excess is None else _SMALLEST_STRIDE):
            return None
        excess = position.result.excess
        chosen = plan_step(
            position.model,
            self.example_input,
            position.channels,
            goal=state.stride if excess is None else min(state.stride, excess * _OVERSHOOT),
            choice=ChannelChoice(
                curves=state.curves,
                factors=layer_factors(list(groups.values()), self.settings.layers),
                multiple=self.settings.channel_multiple,
                groups=groups,
                blocked=state.blocked,
            ),
            measure=state.measure,
        )
        return None if chosen == position.channels else chosen

    def _may_relax(self, position: _Position, state: _SearchState, groups: Mapping[str, PrunableGroup]) -> bool:
        if self.settings.drop_is_stated or position.result.excess is None or state.drop >= self.baseline:
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
        enough = self._enough(position.result)
        return self._recovered(model, channels, number=number, recovery=self.settings.recovery, enough=enough)

    def _attempt_again(self, attempt: _Position, *, number: int) -> _Position:
        self.observer.decided(f"candidate {number} misses narrowly: recovering it once more")
        model = copy.deepcopy(attempt.model).requires_grad_(requires_grad=True)
        recovery = self.settings.recovery
        gentler = recovery.model_copy(update={"learning_rate": recovery.learning_rate * _GENTLER})
        enough = self._enough(attempt.result)
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
        passes = self.budget.allow(count_passes(model, self.training_data, recovery))
        recover(
            model,
            self.training_data,
            self.evaluate,
            config=recovery,
            seed=self.settings.seed + number,
            enough=enough,
            passes=passes,
            on_epoch=partial(self._progressed, number, passes),
        )
        return _Position(model, channels, self.judge(model))

    def _progressed(self, number: int, passes: int, epoch: int, metric: float) -> None:
        self.budget.count_pass()
        trials = self.settings.max_trials
        what = f"candidate {number} of at most {trials}, epoch {epoch} of at most {passes}: metric {metric:.4f}"
        self.observer.progressed(what, done=(number - 1) * passes + epoch, total=trials * passes)

    def _misses_narrowly(self, metric: float, state: _SearchState) -> bool:
        lowest = self._lowest(state.drop)
        return self.settings.recovery.epochs > 0 and lowest - _NEAR_MISS * abs(state.drop) <= metric < lowest

    def _decide(self, metric: float, state: _SearchState) -> tuple[bool, str]:
        lowest = self._lowest(state.drop)
        if metric >= lowest:
            return True, f"kept: metric {metric:.4f}, at least {lowest:.4f}"
        return False, f"rolled back: metric {metric:.4f} after recovery, below {lowest:.4f}"

    def _renewed(self, state: _SearchState, attempt: _Position) -> _SearchState:
        cost = self._cost(attempt.model)
        if all(now > then * _STALE_SHARE for now, then in zip(cost, state.curves_at, strict=True)):
            return state
        curves = analyze_sensitivity(
            attempt.model,
            self.example_input,
            self.evaluate,
            ratios=_RENEWED_RATIOS,
            importance=self.settings.importance,
            samples=self.samples,
            device=self.settings.device,
            compute=self.settings.compute,
        )
        self.observer.decided("the model has halved: measured its sensitivity again")
        return replace(state, curves=curves, curves_at=cost, blocked=frozenset())

    def _narrowed(
        self, state: _SearchState, position: _Position, attempt: _Position, groups: Mapping[str, PrunableGroup]
    ) -> _SearchState:
        moved = [name for name, count in attempt.channels.items() if count < position.channels[name]]
        if len(moved) == 1 and attempt.channels[moved[0]] == self._next_width(
            position.channels[moved[0]], groups[moved[0]]
        ):
            # One block cannot be halved: the other groups may still have some to give.
            return replace(state, blocked=state.blocked | {moved[0]})
        excess = position.result.excess
        return replace(state, stride=min(state.stride, excess or state.stride) / 2)

    def _cost(self, model: nn.Module) -> tuple[int, int]:
        return count_parameters(model), count_macs(model, self.example_input)

    def _candidate(self, number: int, position: _Position, *, kept: bool, reason: str) -> JudgedCandidate:
        parameters, macs = self._cost(position.model)
        return JudgedCandidate(
            number=number,
            measurements=position.result.measurements,
            parameters=parameters,
            macs=macs,
            kept=kept,
            reason=reason,
        )

    def _tell(self, candidate: JudgedCandidate, variants: tuple[str, ...]) -> None:
        sizes = [f"{candidate.measurements[name].size_bytes} bytes as {name}" for name in variants]
        what = f"candidate {candidate.number}: {candidate.parameters} parameters, {', '.join(sizes)}"
        self.observer.decided(f"{what}: {candidate.reason}")

    def _say_why_it_ended(self, position: _Position, *, trials: int) -> None:
        if position.result.excess == 0:
            reason = "the constraints are met"
        else:
            reason = self.budget.spent(trials=trials) or "no further step keeps the metric"
        self.observer.decided(f"the search ends: {reason}")
