from __future__ import annotations

from drupelet_host.pruning.search.budget import SearchBudget


def test_without_limits_only_trials_count() -> None:
    budget = SearchBudget(max_trials=2)
    assert budget.allow(1000) == 1000
    assert budget.spent(trials=1) == ""
    assert budget.spent(trials=2) == "2 candidates were made, which is max_trials"


def test_passes_are_given_out_until_none_is_left() -> None:
    budget = SearchBudget(max_trials=9, max_passes=5)
    assert budget.allow(3) == 3
    for _ in range(3):
        budget.count_pass()
    assert budget.spent() == ""
    assert budget.allow(4) == 2
    for _ in range(2):
        budget.count_pass()
    assert budget.spent() == "5 passes over the training data were made, which is max_passes"


def test_time_that_is_over_ends_the_search() -> None:
    assert SearchBudget(max_trials=9, max_minutes=60.0).spent() == ""
    assert "minutes are over" in SearchBudget(max_trials=9, max_minutes=1e-9).spent()
