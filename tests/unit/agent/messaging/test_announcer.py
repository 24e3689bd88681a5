"""What the device publishes of itself."""

from __future__ import annotations

import json

import pytest

from drupelet_agent.messaging.announcer import Announcer, offline_publication, shorten_state
from drupelet_shared.contract.messages import Event, ModelState, ModelTelemetry
from drupelet_shared.contract.topics import DeviceTopics
from fakes.broker_session import FakeSession

TOPICS = DeviceTopics("pi")
STATE = ModelState(
    model="m", version="1.0", release=1, digest="0" * 64, health="failed", error="x" * 5000, code="model_unavailable"
)


def ignore(*_: object, **__: object) -> None:
    pass


@pytest.fixture
def session() -> FakeSession:
    return FakeSession(on_connected=ignore, on_message=ignore)


@pytest.fixture
def announcer(session: FakeSession) -> Announcer:
    return Announcer(TOPICS, session, run_id="run", outbox_length=2)


def telemetry(count: int) -> ModelTelemetry:
    return ModelTelemetry(model="m", version="1", variant="v", window_s=1, outcomes={"ok": count}, totals={"ok": count})


def event(value: float) -> Event:
    return Event(device="pi", kind="temperature", state="raised", value=value, limit=80, message="hot")


def test_birth_comes_before_the_states_and_what_waited_after_them(announcer: Announcer, session: FakeSession) -> None:
    for number in range(3):
        announcer.model_telemetry(telemetry(number))
        announcer.event(event(number))
    assert session.published == []
    assert announcer.dropped == 1
    session.connect()
    announcer.announce([STATE])
    topics = [one.topic for one in session.published]
    model = TOPICS.model_telemetry("m")
    assert topics == [TOPICS.status, TOPICS.model_state("m"), *[TOPICS.event] * 3, model, model]
    birth = json.loads(session.published[0].payload)
    assert (birth["state"], birth["session"]) == ("online", "run")
    assert [json.loads(one.payload)["totals"]["ok"] for one in session.on_topic(model)] == [1, 2]


def test_birth_and_will_carry_the_labels_of_the_device_and_nothing_without_any(session: FakeSession) -> None:
    labelled = Announcer(TOPICS, session, run_id="run", outbox_length=2, labels={"site": "berlin"})
    session.connect()
    labelled.announce([])
    will = offline_publication(TOPICS, run_id="run", labels={"site": "berlin"})
    for publication in (session.published[0], will):
        assert json.loads(publication.payload)["labels"] == {"site": "berlin"}
    assert b"labels" not in offline_publication(TOPICS, run_id="run", labels={}).payload


@pytest.mark.parametrize("measures", [True, False])
def test_the_birth_message_says_whether_the_device_measures_candidates(session: FakeSession, *, measures: bool) -> None:
    announcer = Announcer(TOPICS, session, run_id="run", outbox_length=2, measures=measures)
    session.connect()
    announcer.announce([])
    assert json.loads(session.published[0].payload)["measures"] is measures


def test_states_and_statuses_are_retained_and_numbers_are_not(announcer: Announcer, session: FakeSession) -> None:
    session.connect()
    announcer.announce([STATE])
    announcer.model_telemetry(telemetry(1))
    announcer.event(event(81))
    assert [one.retain for one in session.published] == [True, True, False, False]


def test_a_state_without_a_connection_is_left_to_the_next_announcement(
    announcer: Announcer, session: FakeSession
) -> None:
    announcer.model_state(STATE)
    session.connect()
    assert session.published == []


def test_a_state_too_large_for_the_broker_is_published_shortened(
    announcer: Announcer, session: FakeSession, caplog: pytest.LogCaptureFixture
) -> None:
    session.maximum_packet_bytes = 600
    session.connect()
    announcer.model_state(STATE)
    (published,) = session.on_topic(TOPICS.model_state("m"))
    state = ModelState.model_validate_json(published.payload)
    assert published.retain
    assert (state.model, state.release, state.health, state.code) == ("m", 1, "failed", "model_unavailable")
    assert "published without plan, tensors and changes" in caplog.text


def test_a_short_error_stays_whole_in_a_shortened_state() -> None:
    assert shorten_state(STATE.model_copy(update={"error": "no room"})).error == "no room"


def test_the_farewell_is_done_when_the_broker_has_it(announcer: Announcer, session: FakeSession) -> None:
    session.holds_acknowledgements = True
    session.connect()
    done: list[bool] = []
    announcer.announce_offline(on_done=lambda: done.append(True))
    assert done == []
    session.acknowledge_publications()
    assert done == [True]
    assert json.loads(session.published[0].payload)["state"] == "offline"


def test_the_state_of_the_store_stands_in_the_birth_message_of_each_connect(
    announcer: Announcer, session: FakeSession
) -> None:
    def statuses() -> list[tuple[str | None, str | None]]:
        documents = [json.loads(one.payload) for one in session.on_topic(TOPICS.status)]
        return [(document.get("store"), document.get("store_error")) for document in documents]

    announcer.store_state("ok", None)
    session.connect()
    announcer.announce([])
    announcer.store_state("read_only", "the card")
    session.lose_connection()
    session.connect()
    announcer.announce([])
    assert statuses() == [("ok", None), ("read_only", "the card"), ("read_only", "the card")]
    assert all(one.retain for one in session.on_topic(TOPICS.status))
