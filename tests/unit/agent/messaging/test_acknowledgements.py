"""The order of acknowledgements: MQTT 5, section 4.6."""

from __future__ import annotations

import pytest

from drupelet_agent.messaging.acknowledgements import Acknowledgements


@pytest.fixture
def sent() -> list[int]:
    return []


@pytest.fixture
def acknowledgements(sent: list[int]) -> Acknowledgements:
    found = Acknowledgements(sent.append)
    for packet_id in (7, 3, 5):
        assert found.is_new(packet_id, duplicate=False)
    return found


def test_a_message_that_is_done_early_waits_for_those_before_it(
    acknowledgements: Acknowledgements, sent: list[int]
) -> None:
    acknowledgements.done(5)
    acknowledgements.done(3)
    assert sent == []
    acknowledgements.done(7)
    assert sent == [7, 3, 5]


def test_a_repeated_message_that_is_in_work_is_not_new(acknowledgements: Acknowledgements) -> None:
    acknowledgements.connection_lost()
    assert not acknowledgements.is_new(7, duplicate=True)


def test_after_a_reconnect_an_acknowledgement_waits_for_the_repetition(
    acknowledgements: Acknowledgements, sent: list[int]
) -> None:
    acknowledgements.connection_lost()
    acknowledgements.done(7)
    assert sent == []
    acknowledgements.is_new(7, duplicate=True)
    assert sent == [7]


def test_a_repetition_of_what_an_earlier_agent_left_is_new(acknowledgements: Acknowledgements) -> None:
    assert acknowledgements.is_new(9, duplicate=True)


def test_an_identifier_is_free_again_once_it_was_acknowledged(
    acknowledgements: Acknowledgements, sent: list[int]
) -> None:
    acknowledgements.done(7)
    assert acknowledgements.is_new(7, duplicate=False)
    acknowledgements.done(3)
    acknowledgements.done(5)
    acknowledgements.done(7)
    assert sent == [7, 3, 5, 7]


def test_messages_of_a_lost_session_are_not_acknowledged(acknowledgements: Acknowledgements, sent: list[int]) -> None:
    acknowledgements.session_lost()
    acknowledgements.done(7)
    assert sent == []


@pytest.mark.parametrize(("identity", "is_new"), [("a", False), ("b", True), (None, True)])
def test_a_repetition_of_what_was_acknowledged_is_told_by_its_identity(identity: str | None, is_new: bool) -> None:  # noqa: FBT001 - a test's parameter
    sent: list[int] = []
    found = Acknowledgements(sent.append)
    found.is_new(7, duplicate=False, identity="a")
    found.done(7)
    found.connection_lost()
    assert found.is_new(7, duplicate=True, identity=identity) == is_new
    assert sent == ([7] if is_new else [7, 7])
