"""Which release an automatic roll-back restores."""

from __future__ import annotations

from drupelet_agent.planning.restoring import release_to_restore
from drupelet_agent.store.records import ModelRecord
from support.agent.values import make_activation

FIRST, SECOND, THIRD = (make_activation(release=release) for release in (1, 2, 3))


def test_the_older_release_before_the_active_one_is_restored() -> None:
    assert release_to_restore(ModelRecord(active=SECOND, previous=FIRST), SECOND) == FIRST


def test_a_newer_release_is_never_restored() -> None:
    assert release_to_restore(ModelRecord(active=FIRST, previous=SECOND), FIRST) is None


def test_another_package_of_the_same_release_is_not_restored() -> None:
    twin = make_activation(release=2, digest="f" * 64)
    assert release_to_restore(ModelRecord(active=SECOND, previous=twin), SECOND) is None


def test_a_release_that_is_no_longer_active_is_left_alone() -> None:
    assert release_to_restore(ModelRecord(active=THIRD, previous=SECOND), SECOND) is None


def test_a_first_release_has_nothing_before_it() -> None:
    assert release_to_restore(ModelRecord(active=FIRST), FIRST) is None
