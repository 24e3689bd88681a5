"""One path of a search: how a step is planned, made, judged and kept."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from torch import nn

from drupelet_host.compute.in_process import IN_PROCESS
from drupelet_host.data.dataset import Dataset
from drupelet_host.evaluation.cost import count_macs, count_parameters
from drupelet_host.latency.modelled.module_layers import read_module_layers
from drupelet_host.progress.observer import SILENT, Observer
from drupelet_host.pruning.importance import prune_least_important
from drupelet_host.pruning.ratio.policy import layer_factors
from drupelet_host.pruning.ratio.progressive import PruningResult
from drupelet_host.pruning.rewriting.padding_trim import trim_padding
from drupelet_host.pruning.search.budget import SearchBudget
from drupelet_host.pruning.search.choice import ChannelChoice
from drupelet_host.pruning.search.judged import choose_variants, measure_cost
from drupelet_host.pruning.search.position import Position, SearchState
from drupelet_host.pruning.search.savings import CostMeasure
from drupelet_host.pruning.search.settings import SearchSettings
from drupelet_host.pruning.search.steps import plan_step
from drupelet_host.pruning.sensitivity import SensitivityCurve, analyze_sensitivity
from drupelet_host.pruning.structure.groups import PrunableGroup, find_groups
from drupelet_host.pruning.structure.trial import TRIAL_SAMPLES
from drupelet_host.pruning.widths import next_width
from drupelet_host.recipe.schema import RecoveryConfig
from drupelet_host.selection.frontier import JudgedCandidate
from drupelet_host.selection.judge import CandidateResult
from drupelet_host.selection.metric_limit import MetricLimit
from drupelet_host.torch_models.inputs import ModuleInputs, make_tensors
from drupelet_host.training.recovery import Evaluate, TrainingData, count_passes, recover

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


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPath:
    """How a search steps; immutable but for its budget.

    Attributes:
        original: The original, in evaluation mode.
        train: What recovers.
        training_data: The same with the original's outputs.
        samples: Labelled samples for the importance.
        evaluate: Returns a module's metric during recovery.
        judge: Measures a candidate as it would ship.
        baseline: The original's metric in the engine.
        settings: Limits and means.
        observer: Is told why each step was kept or rolled back.
        budget: How much the path may still do.
    """

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
    def example_input(self) -> ModuleInputs:
        """One training sample, batch first."""
        return make_tensors(self.train.first(1))

    @property
    def trial_samples(self) -> ModuleInputs:
        """A few training samples, on which removals are tried."""
        return make_tensors(self.train.spread(TRIAL_SAMPLES))

    def for_worker(self) -> SearchPath:
        """Return the path as a worker takes it: without what belongs to this process."""
        settings = replace(self.settings, compute=IN_PROCESS)
        return replace(self, judge=leave_unjudged, observer=SILENT, settings=settings)

    def with_passes(self, passes: int) -> SearchPath:
        """Return the path with a budget of its own, of which so many passes are used."""
        budget = SearchBudget(self.settings.max_trials, self.settings.max_passes)
        budget.passes = passes
        return replace(self, budget=budget)

    def find_groups(self) -> dict[str, PrunableGroup]:
        """Return the groups that can be pruned, by name."""
        groups = find_groups(self.original, self.example_input, samples=self.trial_samples)
        return {group.name: group for group in groups}

    def relaxed(self, state: SearchState, *, stride: float = _FIRST_STRIDE) -> SearchState:
        """Return the state with twice the limit on the metric, which the recipe does not state."""
        self.observer.decided(f"no max_metric_drop was stated: going on with a limit of {2 * state.drop:.4g}")
        return replace(state, drop=2 * state.drop, stride=stride, blocked=frozenset())

    def _enough(self, result: CandidateResult) -> float:
        """Return the metric at which recovery ends early.

        Where nothing but the metric is constrained it goes on beyond the original, by as much as may be lost: what a
        step has to spare, the next ones can spend.
        """
        drop = self.settings.max_metric_drop
        if drop < 0:
            return self.lowest(drop - _RESERVE)
        return self.lowest(-drop) if result.excess is None else self.baseline

    def next_channels(
        self, position: Position, state: SearchState, groups: Mapping[str, PrunableGroup]
    ) -> dict[str, int] | None:
        """Return the channels after the next step; None where there is none.

        Args:
            position: Where the path is.
            state: How the step is chosen.
            groups: The groups that can be pruned.

        Returns:
            The channels by group.
        """
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

    def may_relax(self, position: Position, state: SearchState, groups: Mapping[str, PrunableGroup]) -> bool:
        """Return whether a limit on the metric that the recipe does not state may be doubled.

        Args:
            position: Where the path is.
            state: How the next step is chosen.
            groups: The groups that can be pruned.

        Returns:
            Whether that can help.
        """
        if self.settings.drop_is_stated or position.result.excess is None or state.drop >= self.baseline:
            return False
        # With nothing left to remove, no limit helps.
        return any(self._next_width(count, groups[name]) < count for name, count in position.channels.items())

    def _next_width(self, count: int, group: PrunableGroup) -> int:
        return next_width(count, multiple=self.settings.channel_multiple, group=group)

    def attempt(self, position: Position, channels: Mapping[str, int], *, number: int) -> Position:
        """Return a candidate: pruned, recovered and judged.

        Args:
            position: Where the path is.
            channels: The channels of the candidate.
            number: Its number, from which the seed follows.

        Returns:
            The candidate.
        """
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

    def attempt_again(self, attempt: Position, *, number: int) -> Position:
        """Recover a candidate once more, more gently."""
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
    ) -> Position:
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
        return Position(model, channels, self.judge(model))

    def _progressed(self, number: int, passes: int, epoch: int, metric: float) -> None:
        self.budget.count_pass()
        trials = self.settings.max_trials
        what = f"candidate {number} of at most {trials}, epoch {epoch} of at most {passes}: metric {metric:.4f}"
        self.observer.progressed(what, done=(number - 1) * passes + epoch, total=trials * passes)

    def misses_narrowly(self, metric: float, state: SearchState) -> bool:
        """Return whether a metric is a little below the limit."""
        lowest = self.lowest(state.drop)
        return self.settings.recovery.epochs > 0 and lowest - _NEAR_MISS * abs(state.drop) <= metric < lowest

    def decide(self, metric: float, state: SearchState) -> tuple[bool, str]:
        """Return whether a candidate with this metric is kept, and why."""
        lowest = self.lowest(state.drop)
        if metric >= lowest:
            return True, f"kept: metric {metric:.4f}, at least {lowest:.4f}"
        return False, f"rolled back: metric {metric:.4f} after recovery, below {lowest:.4f}"

    def renewed(self, state: SearchState, attempt: Position) -> SearchState:
        """Return the state after a step that was kept; the curves are measured again where the model has halved."""
        cost = self.count_cost(attempt.model)
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
            trial_samples=self.trial_samples,
        )
        self.observer.decided("the model has halved: measured its sensitivity again")
        return replace(state, curves=curves, curves_at=cost, blocked=frozenset())

    def narrowed(
        self, state: SearchState, position: Position, attempt: Position, groups: Mapping[str, PrunableGroup]
    ) -> SearchState:
        """Return the state after a step that was rolled back: half the stride.

        Args:
            state: How the step was chosen.
            position: Where the path is.
            attempt: The candidate.
            groups: The groups that can be pruned.

        Returns:
            The state.
        """
        moved = [name for name, count in attempt.channels.items() if count < position.channels[name]]
        if len(moved) == 1 and attempt.channels[moved[0]] == self._next_width(
            position.channels[moved[0]], groups[moved[0]]
        ):
            # One block cannot be halved: the other groups may still have some to give.
            return replace(state, blocked=state.blocked | {moved[0]})
        excess = position.result.excess
        return replace(state, stride=min(state.stride, excess or state.stride) / 2)

    def count_cost(self, model: nn.Module) -> tuple[int, int]:
        """Return the parameters and multiply-accumulates of a model."""
        return count_parameters(model), count_macs(model, self.example_input)

    def candidate(self, number: int, position: Position, *, kept: bool, reason: str) -> JudgedCandidate:
        """Return the record of a candidate.

        Args:
            number: Its number.
            position: The candidate.
            kept: Whether the search continues from it.
            reason: Why.

        Returns:
            The record.
        """
        parameters, macs = self.count_cost(position.model)
        return JudgedCandidate(
            number=number,
            measurements=position.result.measurements,
            parameters=parameters,
            macs=macs,
            kept=kept,
            reason=reason,
        )

    def tell(self, candidate: JudgedCandidate, variants: tuple[str, ...]) -> None:
        """Report a candidate."""
        sizes = [f"{candidate.measurements[name].size_bytes} bytes as {name}" for name in variants]
        what = f"candidate {candidate.number}: {candidate.parameters} parameters, {', '.join(sizes)}"
        self.observer.decided(f"{what}: {candidate.reason}")

    def start(self, before: Mapping[str, int], resumed: PruningResult | None) -> Position:
        """Return the position that the search begins at: the original, or where an earlier search was.

        Args:
            before: The channels of the original.
            resumed: The earlier search.
        """
        if resumed is None:
            start = self._without_padding_taps()
            return Position(start, before, self.judge(start))
        model = copy.deepcopy(resumed.model).eval()
        return Position(model, {name: after for name, (_, after) in resumed.channels.items()}, self.judge(model))

    def first_state(
        self, position: Position, curves: Mapping[str, SensitivityCurve], measure: CostMeasure
    ) -> SearchState:
        """Return how the first step is chosen.

        Args:
            position: Where the search begins.
            curves: Sensitivity by group.
            measure: What a step's cost is counted by.

        Returns:
            The state.
        """
        drop = self.settings.max_metric_drop
        if position.result.excess is None:
            drop = drop * _SPENT_SHARE if drop >= 0 else drop - _RESERVE
            self.observer.decided(f"nothing but the metric is constrained: spending {drop:.4g} of what may be lost")
        return SearchState(_FIRST_STRIDE, drop, frozenset(), curves, self.count_cost(self.original), measure)

    def choose_variants(self, result: CandidateResult, *, drop: float) -> tuple[str, ...]:
        """Return the variant that is judged in each engine."""
        return choose_variants(result, self.settings, lowest=self.lowest(drop))

    def measure_cost(self, position: Position, judged: Sequence[str]) -> CostMeasure:
        """Return what the cost of the next steps is counted by.

        Args:
            position: Where the path is.
            judged: The variants that are judged.

        Returns:
            The measure.
        """
        return measure_cost(self.settings, judged, read_module_layers(position.model, self.example_input))

    def lowest(self, drop: float) -> float:
        """Return the lowest metric that is within a drop."""
        return MetricLimit(self.baseline, drop).lowest

    def _without_padding_taps(self) -> nn.Module:
        model = copy.deepcopy(self.original)
        removed = trim_padding(model, self.example_input)
        if removed:
            self.observer.decided(f"cut {removed} weights of kernels that see only padding: the outputs stay the same")
        return model


def leave_unjudged(_model: nn.Module) -> CandidateResult:
    """Stand in for the judge where a worker makes a candidate that is judged later."""
    return CandidateResult({}, None)
