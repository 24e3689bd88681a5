"""The constraints pass: a compile that misses what was asked for ends here, before anything is written."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

from drupelet_host.compiler.pass_protocol import PassResult
from drupelet_host.compiler.state import CompileState
from drupelet_host.errors import ConstraintError
from drupelet_host.progress.observer import Observer
from drupelet_host.recipe.schema import Constraints, Recipe
from drupelet_host.selection.constraints import check_constraints, rank_variants, show_limit
from drupelet_host.selection.dominance import drop_idle
from drupelet_host.selection.frontier import describe_frontier


@dataclass(frozen=True, slots=True)
class ConstraintsPass:
    """Checks every variant and ranks those that may go into the package."""

    name: ClassVar[str] = "constraints"
    config: Constraints

    @classmethod
    def from_recipe(cls, recipe: Recipe) -> Self:
        """Take [constraints]."""
        return cls(recipe.constraints)

    def run(self, state: CompileState, *, observer: Observer) -> PassResult:
        """Check the constraints and rank the variants.

        Raises:
            ConstraintError: No variant meets all constraints.
        """
        checks = check_constraints(self.config, state.measurements, references=state.references)
        try:
            ranking = drop_idle(rank_variants(checks, state.measurements), state.measurements, observer=observer)
        except ConstraintError as error:
            where = f" on the {len(state.test)} test samples" if state.test else ""
            candidates = state.pruning.candidates if state.pruning else ()
            frontier = f"; {describe_frontier(candidates)}" if candidates else ""
            raise ConstraintError(f"{error}{where}{frontier}", frontier=candidates) from error
        for check in checks:
            if not check.met and (check.variant in ranking or check.constraint != "max_latency"):
                verdict = "ranked behind; the device measures again" if check.variant in ranking else "left out"
                seen, wanted = (show_limit(check.constraint, value) for value in (check.found, check.wanted))
                observer.decided(f"{check.variant} misses {check.constraint} ({seen}, wanted {wanted}): {verdict}")
        found = {f"{check.variant}.{check.constraint}": float(check.found) for check in checks}
        return PassResult(replace(state, ranking=ranking), found)
