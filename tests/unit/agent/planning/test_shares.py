"""The division of memory among models."""

from __future__ import annotations

from drupelet_agent.planning.shares import share_out


def test_shares_are_in_proportion_to_footprints_and_rounded_down() -> None:
    assert share_out([1, 2, 4], capacity_bytes=100) == [14, 28, 57]


def test_models_that_held_nothing_share_equally() -> None:
    assert share_out([0, 0, 0], capacity_bytes=100) == [33, 33, 33]


def test_a_model_that_held_nothing_beside_others_has_nothing() -> None:
    assert share_out([0, 1], capacity_bytes=100) == [0, 100]
