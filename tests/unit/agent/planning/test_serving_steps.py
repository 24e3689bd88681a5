"""Steps from the current state of serving to the target state, and the release that is served beside the active one."""

from __future__ import annotations

import pytest

from drupelet_agent.planning.serving_steps import Replace, Start, Stop, describe, reconcile, runs_alike, served_beside
from drupelet_agent.store.records import Activation, ModelRecord
from support.agent.values import make_activation


def test_nothing_is_done_when_the_target_is_reached() -> None:
    state = {"a": make_activation("a"), "b": make_activation("b")}
    assert reconcile(state, dict(state)) == ()


def test_a_model_that_is_not_served_is_started() -> None:
    target = make_activation("a")
    assert reconcile({"a": target}, {}) == (Start(target),)


def test_a_model_that_is_no_longer_wanted_is_stopped() -> None:
    assert reconcile({}, {"a": make_activation("a")}) == (Stop("a"),)


def test_another_release_replaces_the_one_served() -> None:
    new = make_activation("a", release=2)
    assert reconcile({"a": new}, {"a": make_activation("a", release=1)}) == (Replace(new),)


def test_stops_come_before_starts_so_that_memory_is_free() -> None:
    target = make_activation("a")
    assert reconcile({"a": target}, {"z": make_activation("z")}) == (Stop("z"), Start(target))


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


class TestServedBeside:
    OLD, NEW = make_activation(release=1), make_activation(release=2)
    RECORD = ModelRecord(active=NEW, previous=OLD)

    def test_it_is_the_release_before_the_active_one(self) -> None:
        assert served_beside(self.RECORD, versions=2) == self.OLD

    def test_there_is_none_where_one_version_is_served(self) -> None:
        assert served_beside(self.RECORD, versions=1) is None

    def test_a_first_release_has_none(self) -> None:
        assert served_beside(ModelRecord(active=self.NEW), versions=2) is None

    def test_a_model_without_an_active_release_has_none(self) -> None:
        assert served_beside(ModelRecord(previous=self.OLD), versions=2) is None

    def test_a_newer_release_that_was_rolled_back_from_is_not_served(self) -> None:
        assert served_beside(ModelRecord(active=self.OLD, previous=self.NEW), versions=2) is None

    def test_the_same_release_from_another_package_is_not_served(self) -> None:
        twin = make_activation(release=2, digest="f" * 64).model_copy(update={"version": "2.0.1"})
        assert served_beside(ModelRecord(active=self.NEW, previous=twin), versions=2) is None

    def test_a_release_of_the_same_version_cannot_be_addressed(self) -> None:
        same = self.OLD.model_copy(update={"version": self.NEW.version})
        assert served_beside(ModelRecord(active=self.NEW, previous=same), versions=2) is None


def test_a_step_is_described_with_what_changes() -> None:
    assert describe(Stop("a")) == "stop model=a"
    assert describe(Start(make_activation("a"))) == "start model=a release=1 variant=ort-fp32 threads=1 instances=1"
    replaced = describe(Replace(make_activation("a", release=2)))
    assert replaced == "replace model=a release=2 variant=ort-fp32 threads=1 instances=1"
