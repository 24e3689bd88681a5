"""The constraints pass: ends a compile that misses a constraint, before anything is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from drupelet_host.compiler.pass_protocol import PassResult, drop_variant
from drupelet_host.compiler.state import CompileState
from drupelet_host.errors import ConstraintError
from drupelet_host.evaluation.measurement import Measurement
from drupelet_host.latency.engines import engine_of
from drupelet_host.progress.observer import Observer
from drupelet_host.recipe.schema import Constraints, Recipe
from drupelet_host.selection.check import Check, show_limit
from drupelet_host.selection.constraints import check_constraints, describe_misses, rank_variants
from drupelet_host.selection.continuation import find_continuation
from drupelet_host.selection.dominance import drop_idle, find_worse_than_original
from drupelet_host.selection.frontier import describe_frontier
from drupelet_host.selection.metric_floor import find_below_floor
from drupelet_host.selection.stated_variants import describe_dropped, list_stated, require_stated
from drupelet_host.selection.variants import IDS_BY_NAME


@dataclass(frozen=True, slots=True)
class ConstraintsPass:
    """Checks every variant and ranks those that may go into the package.

    Attributes:
        config: The constraints.
        stated: The variants that the recipe names; empty where it leaves them open.
    """

    name: ClassVar[str] = "constraints"
    config: Constraints
    stated: tuple[str, ...] = ()

    @classmethod
    def from_recipe(cls, recipe: Recipe) -> Self:
        """Take [constraints], and from [quantize] the variants if the recipe names them."""
        return cls(recipe.constraints, list_stated(recipe) if "variants" in recipe.quantize.model_fields_set else ())

    def run(self, state: CompileState, *, observer: Observer) -> PassResult:
        """Check the constraints and rank the variants.

        Raises:
            ConstraintError: No variant meets all constraints, or none of those that the recipe names is left.
        """
        reasons = find_below_floor(
            state.measurements, baseline=_floor_baseline(state), floor=self.config.floor, metric=state.metric.name
        )
        reasons |= find_worse_than_original(state.measurements, state.references)
        for name, reason in reasons.items():
            state = drop_variant(state, name, reason, observer=observer).state
        above = {name: measured for name, measured in state.measurements.items() if name not in reasons}
        checks = check_constraints(self.config, above, references=state.references)
        ranking = self._rank(checks, above, state)
        kept, idle = drop_idle(ranking, above)
        dropped = {**state.dropped, **describe_misses(checks, ranking), **idle}
        for name, reason in idle.items():
            observer.decided(f"{name} is left out: {reason}")
        _tell_misses(checks, ranking, observer)
        _tell_engines(above, ranking, observer)
        _tell_latency(checks, ranking[0], state, observer)
        values = {f"{check.variant}.{check.constraint}": float(check.value) for check in checks}
        state = replace(state, ranking=kept, dropped=dropped)
        self._require_stated(checks, state)
        return PassResult(state, values)

    def _require_stated(self, checks: tuple[Check, ...], state: CompileState) -> None:
        """Check that a variant that the recipe names is left; the search goes on where one misses the latency alone."""
        try:
            require_stated(self.stated, state.ranking, state.dropped)
        except ConstraintError as error:
            ids = frozenset[str]().union(*(IDS_BY_NAME[name] for name in self.stated))
            named = tuple(check for check in checks if check.variant in ids)
            try:
                self._rank(named, {name: state.measurements[name] for name in {*state.measurements} & ids}, state)
            except ConstraintError as failure:
                raise ConstraintError(
                    f"{error}\n{failure}", frontier=failure.frontier, goes_on=failure.goes_on
                ) from error
            raise

    def _rank(
        self, checks: tuple[Check, ...], measurements: Mapping[str, Measurement], state: CompileState
    ) -> tuple[str, ...]:
        if not measurements:
            raise ConstraintError(_describe_none_above(state))
        try:
            return rank_variants(checks, measurements)
        except ConstraintError as error:
            where = f" on the {len(state.test)} test samples" if state.test else ""
            candidates = state.pruning.candidates if state.pruning else ()
            frontier = f"\n{describe_frontier(candidates)}" if candidates else ""
            raise ConstraintError(
                f"{error}{where}{frontier}",
                frontier=candidates,
                goes_on=find_continuation(checks, state.pruning, before=state.continuation),
            ) from error


def _floor_baseline(state: CompileState) -> float:
    """Return the metric that the floor is a fraction of: after pruning to a stated ratio, that of the pruned model."""
    original, pruning = state.reference.metric, state.pruning
    return min(original, pruning.metric) if pruning is not None and not pruning.candidates else original


def _describe_none_above(state: CompileState) -> str:
    if not state.measurements:
        return f"no variant could be made: {describe_dropped(state.dropped)}"
    return f"no variant keeps enough of the metric: {describe_dropped(state.dropped)}"


def _tell_misses(checks: tuple[Check, ...], ranking: tuple[str, ...], observer: Observer) -> None:
    for check in checks:
        if not check.met and (check.variant in ranking or check.constraint != "max_latency"):
            verdict = "ranked behind; the device measures again" if check.variant in ranking else "left out"
            bound, limit = (show_limit(check, value) for value in (check.bound, check.limit))
            observer.decided(f"{check.variant} misses {check.constraint} ({bound}, limit {limit}): {verdict}")


def _tell_engines(measured: Mapping[str, Measurement], ranking: tuple[str, ...], observer: Observer) -> None:
    kept = {engine_of(measured[name].path) for name in ranking}
    for engine in dict.fromkeys(engine_of(each.path) for each in measured.values()):
        if engine not in kept:
            others = " and ".join(sorted(kept))
            observer.decided(f"no variant for {engine} is within the limits: it is left out, and devices run {others}")


def _tell_latency(checks: tuple[Check, ...], variant: str, state: CompileState, observer: Observer) -> None:
    source = state.measurements[variant].target_latency.source
    for check in checks:
        if (check.variant, check.constraint) == (variant, "max_latency"):
            usual, highest, limit = (show_limit(check, value) for value in (check.value, check.bound, check.limit))
            observer.decided(f"{variant} has a latency of {usual}, at most {highest}, limit {limit}: {source}")
