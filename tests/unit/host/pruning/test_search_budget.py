from __future__ import annotations

from drupelet_host.pruning.search.budget import Effort


def test_without_limits_only_trials_count() -> None:
    effort = Effort(max_trials=2)
    assert effort.allow(1000) == 1000
    assert effort.spent(trials=1) == ""
    assert effort.spent(trials=2) == "2 candidates were made, which is max_trials"


def test_passes_are_given_out_until_none_is_left() -> None:
    effort = Effort(max_trials=9, max_passes=5)
    assert effort.allow(3) == 3
    for _ in range(3):
        effort.count_pass()
    assert effort.spent() == ""
    assert effort.allow(4) == 2
    for _ in range(2):
        effort.count_pass()
    assert effort.spent() == "5 passes over the training data were made, which is max_passes"


def test_time_that_is_over_ends_the_search() -> None:
    assert Effort(max_trials=9, max_minutes=60.0).spent() == ""
    assert "minutes are over" in Effort(max_trials=9, max_minutes=1e-9).spent()
