"""What is desired against what is installed: the decision, by itself."""

from __future__ import annotations

import math

import pytest

from drupelet_agent.delivery.reconciler import (
    Activate,
    Decision,
    Failure,
    Fetch,
    GivenUp,
    InSync,
    Wait,
    decide,
    delay_s,
    next_due_s,
)
from drupelet_agent.store.records import ModelRecord
from drupelet_shared.contract.delivery import DesiredState
from support.agent.values import make_activation

SOURCE = "https://host/digits.drupe"
ONE, TWO, THREE = (make_activation(release=release) for release in (1, 2, 3))


def want(release: int) -> DesiredState:
    return DesiredState(version=f"{release}.0.0", source=SOURCE)


def decision(desired: DesiredState, record: ModelRecord | None, failure: Failure | None = None) -> Decision:
    records = {"digits": record} if record else {}
    failures = {"digits": failure} if failure else {}
    return decide({"digits": desired}, records, failures, now_s=100.0)["digits"]


def test_what_is_active_is_in_sync_by_version_and_by_digest() -> None:
    record = ModelRecord(highest_release=1, active=ONE)
    assert decision(want(1), record) == InSync()
    assert decision(DesiredState(digest=ONE.digest, source=SOURCE), record) == InSync()
    assert decision(DesiredState(version="1.0.0", digest=TWO.digest, source=SOURCE), record) == Fetch()


def test_what_is_not_installed_is_fetched() -> None:
    assert decision(want(1), None) == Fetch()
    assert decision(want(2), ModelRecord(highest_release=1, active=ONE)) == Fetch()
    assert decision(want(2), ModelRecord(highest_release=2)) == Fetch()


def test_what_is_staged_is_activated() -> None:
    assert decision(want(2), ModelRecord(highest_release=1, active=ONE, staged=TWO)) == Activate(2)
    assert decision(want(2), ModelRecord(staged=TWO)) == Activate(2)


def test_a_release_that_was_rolled_back_does_not_come_again_by_itself() -> None:
    found = decision(want(2), ModelRecord(highest_release=2, active=ONE, previous=TWO))
    assert isinstance(found, GivenUp)
    assert found.code == "rolled_back"


def test_a_desired_state_does_not_take_a_device_back() -> None:
    found = decision(want(2), ModelRecord(highest_release=3, active=THREE, previous=TWO))
    assert isinstance(found, GivenUp)
    assert found.code == "release_too_old"


@pytest.mark.parametrize(("failed_s", "waits"), [(99.0, True), (91.0, True), (90.0, False), (0.0, False)])
def test_a_failure_is_tried_again_after_its_delay(failed_s: float, *, waits: bool) -> None:
    failure = Failure(want(2), count=1, code="source_error", error="404", failed_s=failed_s, delay_s=10.0)
    expected = Wait(failure) if waits else Fetch()
    assert decision(want(2), ModelRecord(highest_release=1, active=ONE), failure) == expected


def test_another_desired_state_does_not_wait_for_the_failure_of_the_one_before() -> None:
    failure = Failure(want(2), count=9, code="source_error", error="404", failed_s=99.0, delay_s=3600.0)
    assert decision(want(3), ModelRecord(highest_release=1, active=ONE), failure) == Fetch()


def test_models_are_decided_by_themselves_in_the_order_of_their_names() -> None:
    found = decide({"b": want(1), "a": want(1)}, {"a": ModelRecord(active=ONE)}, {}, now_s=0.0)
    assert list(found.items()) == [("a", InSync()), ("b", Fetch())]


def test_delays_double_up_to_an_hour_and_refusals_wait_longer_up_to_a_day() -> None:
    passing = [delay_s("source_error", count=count, jitter=1.0) for count in (1, 2, 3, 11, 1000)]
    assert passing == [5.0, 10.0, 20.0, 3600.0, 3600.0]
    refused = [delay_s("signature_untrusted", count=count, jitter=1.0) for count in (1, 2, 1000)]
    assert refused == [600.0, 1200.0, 86_400.0]
    assert delay_s("source_error", count=1, jitter=0.0) == 2.5


def test_a_staged_release_that_is_older_than_the_active_one_is_not_activated() -> None:
    assert decision(want(2), ModelRecord(highest_release=3, active=THREE, staged=TWO)) == Fetch()


def test_the_next_comparison_is_due_when_the_first_delay_is_over() -> None:
    failures = [Failure(want(2), count=1, code="x", error="x", failed_s=90.0, delay_s=delay) for delay in (20.0, 5.0)]
    assert next_due_s({"a": Wait(failures[0]), "b": Wait(failures[1]), "c": InSync()}) == 95.0
    assert next_due_s({"c": InSync()}) == math.inf
