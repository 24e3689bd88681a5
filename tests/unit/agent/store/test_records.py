"""The record of a model."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from drupelet_agent.store.measurements import KeptMeasurements
from drupelet_agent.store.records import ModelRecord
from drupelet_shared.contract.messages import PlanChange
from support.agent.values import make_activation

FIRST, SECOND, THIRD = (make_activation(release=release) for release in (1, 2, 3))


def change(number: int = 1) -> PlanChange:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return PlanChange(at=at, what="installed", release=1, runs="ort-fp32", why=str(number))


def test_records_cannot_be_changed_in_place() -> None:
    for record, field in [(ModelRecord(), "active"), (FIRST, "release"), (KeptMeasurements(), "by_conditions")]:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(record, field, None)


def test_what_a_newer_agent_wrote_beside_is_ignored() -> None:
    assert ModelRecord.model_validate({"highest_release": 2, "colour": "blue"}).highest_release == 2


def test_the_kept_releases_are_those_of_the_three_places() -> None:
    assert ModelRecord().releases == ()
    assert ModelRecord(active=SECOND, previous=FIRST, staged=THIRD).releases == (SECOND, FIRST, THIRD)


@pytest.mark.parametrize(("active", "highest"), [(FIRST, SECOND), (SECOND, SECOND), (THIRD, THIRD), (None, SECOND)])
def test_the_highest_release_only_grows(active: object, highest: object) -> None:
    record = ModelRecord(highest_release=2, highest_digest=SECOND.digest)
    after = record.changed(change(), active=active, previous=None)  # type: ignore[arg-type]
    assert (after.highest_release, after.highest_digest) == (highest.release, highest.digest)  # type: ignore[attr-defined]


def test_an_equal_release_with_other_content_becomes_the_highest() -> None:
    record = ModelRecord(highest_release=2, highest_digest="f" * 64)
    assert record.changed(change(), active=SECOND, previous=None).highest_digest == SECOND.digest


def test_a_staged_release_is_no_highest_one() -> None:
    assert ModelRecord().changed(change(), active=FIRST, previous=None, staged=THIRD).highest_release == 1


def test_the_ten_latest_changes_are_kept() -> None:
    record = ModelRecord()
    for number in range(12):
        record = record.changed(change(number), active=None, previous=None)
    assert [one.why for one in record.changes] == [str(number) for number in range(2, 12)]
