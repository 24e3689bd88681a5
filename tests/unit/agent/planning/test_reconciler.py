"""Target state against current state."""

from __future__ import annotations

import pytest

from drupelet_agent.planning.serving_steps import Replace, Start, Stop, reconcile, runs_alike
from drupelet_agent.store.records import Activation
from support.agent.values import make_activation


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


def with_plan(**changes: object) -> Activation:
    activation = make_activation("a")
    return activation.model_copy(update={"plan": activation.plan.model_copy(update=changes)})


@pytest.mark.parametrize("told", [{"p99_ms": 9.0}, {"reason": "measured again"}, {"memory_budget_bytes": 1}])
def test_a_plan_that_only_tells_more_needs_no_new_workers(told: dict[str, object]) -> None:
    assert runs_alike(make_activation("a"), with_plan(**told))


@pytest.mark.parametrize("other", [{"threads": 2}, {"instances": 2}])
def test_other_threads_or_instances_need_new_workers(other: dict[str, object]) -> None:
    assert not runs_alike(make_activation("a"), with_plan(**other))


def test_another_package_or_variant_needs_new_workers() -> None:
    assert not runs_alike(make_activation("a"), make_activation("a", release=2))
    assert not runs_alike(make_activation("a"), make_activation("a", variant="ort-static-wi8-ai8"))
