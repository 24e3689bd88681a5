"""The store of unacknowledged publications: windows, order, identifiers, suspects, bytes."""

from __future__ import annotations

from drupelet_agent.mqtt.message import Publication
from drupelet_agent.mqtt.outgoing import MOST_LOSSES, Delivery, Outgoing
from drupelet_agent.mqtt.packet_ids import PacketIds

SIZE = 10


def make(*topics: str, receive_maximum: int = 10) -> Outgoing:
    """Make a store with a connection on which the publications to these topics were sent."""
    outgoing = Outgoing(PacketIds())
    for topic in topics:
        outgoing.add(Delivery(Publication(topic, b""), size_bytes=SIZE))
    outgoing.connection_opened(receive_maximum=receive_maximum, session_present=True)
    return outgoing


def send(outgoing: Outgoing, offset: int = 100) -> list[str]:
    """Send everything that may be sent, behind so many bytes, and return the topics."""
    topics = []
    while (delivery := outgoing.next_ready()) is not None:
        offset += SIZE
        delivery.end_offset = offset
        topics.append(delivery.publication.topic)
    return topics


def reopen(outgoing: Outgoing, *, receive_maximum: int = 10, session_present: bool = True) -> None:
    outgoing.connection_opened(receive_maximum=receive_maximum, session_present=session_present)


def lose(outgoing: Outgoing, *, sent: int = 10_000) -> Delivery | None:
    """Lose the connection for a reason for which a publication may be to blame."""
    return outgoing.connection_lost(blamed_up_to=sent)


def test_deliveries_go_out_again_in_the_order_of_publishing_after_two_losses() -> None:
    outgoing = make("a", "b", "c")
    assert send(outgoing) == ["a", "b", "c"]
    outgoing.connection_lost(blamed_up_to=0)
    reopen(outgoing, receive_maximum=1)
    assert send(outgoing) == ["a"]
    outgoing.connection_lost(blamed_up_to=0)
    reopen(outgoing)
    assert send(outgoing) == ["a", "b", "c"]


def test_what_waited_goes_out_behind_what_is_sent_again() -> None:
    outgoing = make("a", "b", receive_maximum=1)
    assert send(outgoing) == ["a"]
    outgoing.connection_lost(blamed_up_to=0)
    reopen(outgoing)
    assert send(outgoing) == ["a", "b"]


def test_a_delivery_that_is_sent_again_keeps_its_identifier_and_is_a_duplicate() -> None:
    outgoing = make("a")
    first = outgoing.next_ready()
    assert first is not None
    assert (first.packet_id, first.is_dup) == (1, False)
    outgoing.connection_lost(blamed_up_to=0)
    reopen(outgoing)
    again = outgoing.next_ready()
    assert again is first
    assert (again.packet_id, again.is_dup) == (1, True)


def test_a_broker_without_the_session_gets_no_duplicates() -> None:
    outgoing = make("a")
    send(outgoing)
    outgoing.connection_lost(blamed_up_to=0)
    reopen(outgoing, session_present=False)
    again = outgoing.next_ready()
    assert again is not None
    assert not again.is_dup


def test_a_suspect_goes_out_alone_and_the_others_follow_once_it_is_acknowledged() -> None:
    outgoing = make("a", "b", "c")
    for _ in range(2):
        assert send(outgoing) == ["a", "b", "c"]
        assert lose(outgoing) is None
        reopen(outgoing)
    assert send(outgoing) == ["a"]
    outgoing.finish(1)
    assert send(outgoing) == ["b"]
    outgoing.finish(2)
    assert send(outgoing) == ["c"]


def test_a_suspect_that_ends_the_connection_alone_is_given_up() -> None:
    outgoing = make("a", "b")
    for loss in range(1, MOST_LOSSES + 1):
        send(outgoing)
        dropped = lose(outgoing)
        assert (dropped is not None) is (loss == MOST_LOSSES)
        reopen(outgoing)
    assert dropped is not None
    assert dropped.publication.topic == "a"
    assert (len(outgoing), outgoing.pending_bytes) == (1, SIZE)
    assert send(outgoing) == ["b"]


def test_a_delivery_whose_bytes_had_not_begun_to_leave_is_not_blamed() -> None:
    outgoing = make("a")
    for _ in range(5):
        send(outgoing, offset=100)
        assert lose(outgoing, sent=100) is None
        reopen(outgoing)


def test_a_delivery_of_which_one_byte_had_left_is_blamed() -> None:
    outgoing = make("a")
    for _ in range(2):
        send(outgoing, offset=100)
        assert lose(outgoing, sent=101) is None
        reopen(outgoing)
    send(outgoing, offset=100)
    assert lose(outgoing, sent=101) is not None


def test_a_new_delivery_waits_behind_a_suspect() -> None:
    outgoing = make("a")
    for _ in range(2):
        send(outgoing)
        lose(outgoing)
        reopen(outgoing)
    send(outgoing)
    outgoing.add(Delivery(Publication("b", b""), size_bytes=SIZE))
    assert send(outgoing) == []


def test_identifiers_are_never_all_in_use_and_what_is_over_waits() -> None:
    outgoing = make(*("x" for _ in range(66_000)), receive_maximum=65_535)
    sent = send(outgoing)
    assert len(sent) == 65_535 - 256
    outgoing.finish(1)
    assert len(send(outgoing)) == 1


def test_an_identifier_of_an_unknown_delivery_finishes_nothing() -> None:
    outgoing = make("a")
    send(outgoing)
    assert outgoing.finish(7) is None
    assert len(outgoing) == 1


def test_unsent_bytes_are_those_behind_the_offset() -> None:
    outgoing = make("a", "b", "c")
    send(outgoing, offset=100)
    assert [outgoing.unsent_bytes(offset) for offset in (100, 105, 110, 125, 130)] == [30, 25, 20, 5, 0]


def test_clearing_returns_everything_in_its_order_and_frees_the_identifiers() -> None:
    packet_ids = PacketIds()
    outgoing = Outgoing(packet_ids)
    for topic in ("a", "b", "c"):
        outgoing.add(Delivery(Publication(topic, b""), size_bytes=SIZE))
    reopen(outgoing, receive_maximum=2)
    send(outgoing)
    assert [delivery.publication.topic for delivery in outgoing.clear()] == ["a", "b", "c"]
    assert (len(outgoing), outgoing.pending_bytes) == (0, 0)
    assert [packet_ids.take() for _ in range(65_536)].count(None) == 1


def test_identifiers_are_given_out_in_turn_and_none_twice_while_it_is_in_use() -> None:
    packet_ids = PacketIds()
    assert [packet_ids.take() for _ in range(3)] == [1, 2, 3]
    packet_ids.release(2)
    taken = [packet_ids.take() for _ in range(65_533)]
    assert taken == [*range(4, 65_536), 2]
    assert packet_ids.take() is None
    packet_ids.release(9)
    assert packet_ids.take() == 9


def test_nothing_goes_out_without_a_connection() -> None:
    outgoing = Outgoing(PacketIds())
    outgoing.add(Delivery(Publication("a", b""), size_bytes=SIZE))
    assert outgoing.next_ready() is None
    reopen(outgoing)
    assert send(outgoing) == ["a"]
    lose(outgoing)
    assert outgoing.next_ready() is None


def test_the_length_counts_what_is_in_flight_what_is_sent_again_and_what_waits() -> None:
    outgoing = make("a", "b", receive_maximum=2)
    send(outgoing)
    outgoing.connection_lost(blamed_up_to=0)
    reopen(outgoing, receive_maximum=1)
    send(outgoing)
    outgoing.add(Delivery(Publication("c", b""), size_bytes=SIZE))
    assert (len(outgoing), outgoing.pending_bytes) == (3, 3 * SIZE)


def test_what_was_to_be_sent_again_is_cleared_too() -> None:
    outgoing = make("a")
    send(outgoing)
    lose(outgoing)
    assert [delivery.publication.topic for delivery in outgoing.clear()] == ["a"]
    reopen(outgoing)
    assert send(outgoing) == []
    assert len(outgoing) == 0


def test_a_delivery_that_was_never_written_to_the_socket_is_not_blamed() -> None:
    outgoing = make("a")
    for _ in range(5):
        assert outgoing.next_ready() is not None
        assert lose(outgoing) is None
        reopen(outgoing)
