"""What the device publishes of the progress towards a desired state."""

from __future__ import annotations

import pytest

from drupelet_agent.delivery.delivery_states import (
    DeliveryPublisher,
    decided_state,
    progress_state,
    started_state,
)
from drupelet_agent.delivery.reconciler import Activate, Decision, Failure, Fetch, GivenUp, InSync, Wait
from drupelet_agent.mqtt.message import Publication
from drupelet_shared.contract.delivery import DeliveryState, DesiredState
from drupelet_shared.contract.topics import DeviceTopics

TOPICS = DeviceTopics("pi")
FETCHED = DesiredState(version="1.0.0", source="https://host/x?token=secret")
UPLOADED = DesiredState(digest="a" * 64, source=f"upload:{'b' * 64}")
FAILURE = Failure(desired=FETCHED, count=2, code="source_error", error="404", failed_s=5.0, delay_s=7.26)


def test_a_state_repeats_what_is_desired_without_the_query_of_a_url() -> None:
    state = decided_state("digits", FETCHED, InSync())
    assert (state.model, state.version, state.digest, state.source) == ("digits", "1.0.0", None, "https://host/x")


@pytest.mark.parametrize(("desired", "state"), [(FETCHED, "fetching"), (UPLOADED, "installing")])
def test_an_upload_need_not_be_fetched(desired: DesiredState, state: str) -> None:
    assert started_state("digits", desired).state == state


@pytest.mark.parametrize(
    ("decision", "state"),
    [
        (InSync(), "in_sync"),
        (Fetch(), "waiting"),
        (Activate(2), "waiting"),
        (Wait(FAILURE), "failed"),
        (GivenUp("c", "e"), "failed"),
    ],
)
def test_each_decision_has_its_state(decision: Decision, state: str) -> None:
    assert decided_state("digits", FETCHED, decision).state == state


def test_a_failure_that_is_tried_again_tells_when() -> None:
    state = decided_state("digits", FETCHED, Wait(FAILURE))
    assert (state.code, state.error, state.failures, state.retry_in_s) == ("source_error", "404", 2, 7.3)


def test_a_failure_for_good_tells_no_next_attempt() -> None:
    state = decided_state("digits", FETCHED, GivenUp("rolled_back", "it broke its contract"))
    assert (state.code, state.error, state.failures, state.retry_in_s) == (
        "rolled_back",
        "it broke its contract",
        None,
        None,
    )


def test_a_download_tells_bytes_and_an_installation_its_stage() -> None:
    fetching = progress_state("digits", FETCHED, {"stage": "fetching", "done_bytes": 3, "total_bytes": 9})
    assert (fetching.state, fetching.stage, fetching.done_bytes, fetching.total_bytes) == ("fetching", None, 3, 9)
    installing = progress_state("digits", FETCHED, {"stage": "verified"})
    assert (installing.state, installing.stage, installing.done_bytes) == ("installing", "verified", None)


class TestPublisher:
    STATE = DeliveryState(model="digits", state="waiting")
    OTHER = DeliveryState(model="faces", state="waiting")

    @pytest.fixture
    def published(self) -> list[Publication]:
        return []

    @pytest.fixture
    def publisher(self, published: list[Publication]) -> DeliveryPublisher:
        return DeliveryPublisher(TOPICS, publish=published.append)

    def test_a_state_is_retained_on_the_topic_of_its_model(
        self, publisher: DeliveryPublisher, published: list[Publication]
    ) -> None:
        publisher.publish(self.STATE)
        assert published == [Publication(TOPICS.delivery("digits"), self.STATE.to_bytes(), retain=True)]

    def test_a_state_that_was_the_latest_is_not_published_again(
        self, publisher: DeliveryPublisher, published: list[Publication]
    ) -> None:
        changed = self.STATE.model_copy(update={"state": "in_sync"})
        for state in (self.STATE, self.STATE, self.OTHER, changed, changed, self.STATE):
            publisher.publish(state)
        assert [publication.payload for publication in published] == [
            state.to_bytes() for state in (self.STATE, self.OTHER, changed, self.STATE)
        ]

    def test_a_forgotten_state_is_published_again(
        self, publisher: DeliveryPublisher, published: list[Publication]
    ) -> None:
        publisher.publish(self.STATE)
        for forget in (lambda: publisher.forget("digits"), publisher.forget_all):
            published.clear()
            forget()
            publisher.publish(self.STATE)
            assert [publication.payload for publication in published] == [self.STATE.to_bytes()]

    def test_a_withdrawn_state_is_deleted_at_the_broker(
        self, publisher: DeliveryPublisher, published: list[Publication]
    ) -> None:
        publisher.publish(self.STATE)
        publisher.withdraw("digits")
        publisher.publish(self.STATE)
        assert [publication.payload for publication in published] == [
            self.STATE.to_bytes(),
            b"",
            self.STATE.to_bytes(),
        ]
        assert published[1].retain
