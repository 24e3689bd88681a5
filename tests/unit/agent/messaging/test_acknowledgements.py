"""The order of acknowledgements: MQTT 5, section 4.6."""

from __future__ import annotations

import pytest

from drupelet_agent.messaging.acknowledgements import Acknowledgements, PendingAcknowledgement


@pytest.fixture
def sent() -> list[int]:
    return []


@pytest.fixture
def acknowledgements(sent: list[int]) -> Acknowledgements:
    return Acknowledgements(sent.append)


@pytest.fixture
def pending(acknowledgements: Acknowledgements) -> dict[int, PendingAcknowledgement]:
    """Three messages in the order of their delivery."""
    return {packet_id: deliver(acknowledgements, packet_id) for packet_id in (7, 3, 5)}


def deliver(acknowledgements: Acknowledgements, packet_id: int) -> PendingAcknowledgement:
    pending = acknowledgements.register(packet_id, duplicate=False)
    assert pending is not None
    return pending


def test_a_message_that_is_handled_early_waits_for_those_before_it(
    acknowledgements: Acknowledgements, pending: dict[int, PendingAcknowledgement], sent: list[int]
) -> None:
    acknowledgements.complete(pending[5])
    acknowledgements.complete(pending[3])
    assert sent == []
    acknowledgements.complete(pending[7])
    assert sent == [7, 3, 5]


@pytest.mark.usefixtures("pending")
def test_a_repeated_message_that_is_being_handled_is_not_handled_again(acknowledgements: Acknowledgements) -> None:
    acknowledgements.connection_lost()
    assert acknowledgements.register(7, duplicate=True) is None


def test_a_repetition_that_the_broker_does_not_mark_is_recognised_by_its_identity(
    acknowledgements: Acknowledgements, sent: list[int]
) -> None:
    first = acknowledgements.register(7, duplicate=False, identity="a")
    acknowledgements.connection_lost()
    assert acknowledgements.register(7, duplicate=False, identity="a") is None
    assert first is not None
    acknowledgements.complete(first)
    assert sent == [7]


def test_after_a_reconnect_an_acknowledgement_waits_for_the_repetition(
    acknowledgements: Acknowledgements, pending: dict[int, PendingAcknowledgement], sent: list[int]
) -> None:
    acknowledgements.connection_lost()
    acknowledgements.complete(pending[7])
    assert sent == []
    acknowledgements.register(7, duplicate=True)
    assert sent == [7]


def test_a_repetition_of_what_an_earlier_agent_left_is_handled(acknowledgements: Acknowledgements) -> None:
    assert acknowledgements.register(9, duplicate=True) is not None


def test_a_packet_identifier_is_free_again_once_it_was_acknowledged(
    acknowledgements: Acknowledgements, pending: dict[int, PendingAcknowledgement], sent: list[int]
) -> None:
    acknowledgements.complete(pending[7])
    again = deliver(acknowledgements, 7)
    for one in (pending[3], pending[5], again):
        acknowledgements.complete(one)
    assert sent == [7, 3, 5, 7]


def test_completing_a_message_twice_acknowledges_it_once(
    acknowledgements: Acknowledgements, pending: dict[int, PendingAcknowledgement], sent: list[int]
) -> None:
    acknowledgements.complete(pending[7])
    acknowledgements.complete(pending[7])
    assert sent == [7]


def test_messages_of_a_lost_session_are_not_acknowledged(
    acknowledgements: Acknowledgements, pending: dict[int, PendingAcknowledgement], sent: list[int]
) -> None:
    acknowledgements.session_lost()
    acknowledgements.complete(pending[7])
    assert sent == []


def test_a_message_of_a_lost_session_does_not_acknowledge_one_of_the_next_with_its_packet_identifier(
    acknowledgements: Acknowledgements, pending: dict[int, PendingAcknowledgement], sent: list[int]
) -> None:
    acknowledgements.session_lost()
    deliver(acknowledgements, 7)
    acknowledgements.complete(pending[7])
    assert sent == []


@pytest.mark.parametrize(("identity", "acknowledged"), [("a", [7, 7]), ("b", [7]), (None, [7])])
def test_a_repetition_of_what_was_acknowledged_is_recognised_by_its_identity(
    identity: str | None, acknowledged: list[int]
) -> None:
    sent: list[int] = []
    acknowledgements = Acknowledgements(sent.append)
    first = acknowledgements.register(7, duplicate=False, identity="a")
    assert first is not None
    acknowledgements.complete(first)
    acknowledgements.connection_lost()
    is_repetition = acknowledgements.register(7, duplicate=True, identity=identity) is None
    assert sent == acknowledged
    assert is_repetition == (len(acknowledged) == 2)


def test_the_last_1024_acknowledged_messages_are_remembered_and_none_before(acknowledgements: Acknowledgements) -> None:
    for packet_id in range(1, 1026):
        first = acknowledgements.register(packet_id, duplicate=False, identity=packet_id)
        assert first is not None
        acknowledgements.complete(first)
    acknowledgements.connection_lost()
    assert acknowledgements.register(2, duplicate=True, identity=2) is None
    assert acknowledgements.register(1, duplicate=True, identity=1) is not None
