"""Target state against current state."""

from __future__ import annotations

from drupelet_agent.reconciler import Replace, Start, Stop, reconcile
from support.values import make_activation


def test_nothing_is_done_when_the_target_is_reached() -> None:
    state = {"a": make_activation("a"), "b": make_activation("b")}
    assert reconcile(state, dict(state)) == ()


def test_a_model_that_is_not_served_is_started() -> None:
    wanted = make_activation("a")
    assert reconcile({"a": wanted}, {}) == (Start(wanted),)


def test_a_model_that_is_no_longer_wanted_is_stopped() -> None:
    assert reconcile({}, {"a": make_activation("a")}) == (Stop("a"),)


def test_another_release_replaces_the_one_served() -> None:
    new = make_activation("a", release=2)
    assert reconcile({"a": new}, {"a": make_activation("a", release=1)}) == (Replace(new),)


def test_stops_come_before_starts_so_that_memory_is_free() -> None:
    wanted = make_activation("a")
    assert reconcile({"a": wanted}, {"z": make_activation("z")}) == (Stop("z"), Start(wanted))
