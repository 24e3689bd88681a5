from __future__ import annotations

import pytest

from drupelet_host.compiler.passes.prune import weigh_costs
from drupelet_host.pruning.search.savings import CostWeights
from drupelet_host.recipe.schema import Constraints
from drupelet_host.selection.check import Check
from drupelet_host.selection.judge import find_excess


def test_where_only_the_metric_is_constrained_there_is_no_excess() -> None:
    assert find_excess((Check("max_metric_drop", "int8", 0.01, 0.0),)) is None
    assert find_excess(()) is None


def test_the_excess_is_that_of_the_nearest_variant_by_its_worst_constraint() -> None:
    checks = (
        Check("max_size", "float", 100, 400),
        Check("max_latency", "float", 0.5, 0.4),
        Check("max_size", "int8", 100, 125),
        Check("max_latency", "int8", 0.5, 1.0),
    )
    # A latency has to be 3 % below its limit.
    assert find_excess(checks) == pytest.approx(0.515)


def test_constraints_met_by_two_variants_between_them_are_not_met() -> None:
    checks = (
        Check("max_size", "float", 100, 200),
        Check("max_latency", "float", 0.5, 0.4),
        Check("max_size", "int8", 100, 50),
        Check("max_latency", "int8", 0.5, 0.625),
    )
    assert find_excess(checks) == pytest.approx(1 - 0.97 * 0.5 / 0.625)


def test_a_variant_that_misses_the_metric_does_not_count() -> None:
    checks = (
        Check("max_metric_drop", "int8", 0.01, 0.02),
        Check("max_size", "int8", 100, 50),
        Check("max_metric_drop", "float", 0.01, 0.0),
        Check("max_size", "float", 100, 200),
    )
    assert find_excess(checks) == pytest.approx(0.5)
    assert find_excess(checks[:2]) == 1.0


@pytest.mark.parametrize(
    ("constraints", "weights"),
    [
        ({"max_size": "1MB"}, CostWeights(parameters=1.0, time=0.0)),
        ({"max_latency": 0.5}, CostWeights(parameters=0.0, time=1.0)),
        ({"max_latency": 0.5, "max_size": "1MB"}, CostWeights()),
        ({}, CostWeights()),
    ],
)
def test_a_search_saves_what_is_constrained(constraints: dict[str, object], weights: CostWeights) -> None:
    assert weigh_costs(Constraints.model_validate(constraints)) == weights
