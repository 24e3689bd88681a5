"""Publications of QoS 1: whatever happens to the connection, each goes out until it is acknowledged."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from drupelet_agent.mqtt.message import Publication
from drupelet_agent.mqtt.outgoing import Outgoing, Sending


class Broker:
    """What a broker knows of the publications of one session."""

    def __init__(self) -> None:
        self.has: list[str] = []
        self.unacknowledged: dict[int, str] = {}

    def take(self, sendings: Iterable[Sending]) -> None:
        for sending in sendings:
            assert sending.packet_id not in self.unacknowledged
            self.unacknowledged[sending.packet_id] = sending.publication.topic
            if not (sending.dup and sending.publication.topic in self.has):
                self.has.append(sending.publication.topic)


ACTIONS = st.lists(
    st.sampled_from(["publish", "publish", "acknowledge", "lose", "connect", "connect without session"]), max_size=60
)


@given(ACTIONS, st.integers(1, 4))
def test_everything_arrives_in_order_and_never_more_is_out_than_the_broker_takes(actions: list[str], room: int) -> None:
    outgoing, broker, connected, published = Outgoing(), Broker(), False, 0
    for action in [*actions, "connect"]:
        if action == "publish":
            broker.take(outgoing.take(Publication(str(published), b"")))
            published += 1
        elif action == "acknowledge" and broker.unacknowledged:
            packet_id = next(iter(broker.unacknowledged))
            del broker.unacknowledged[packet_id]
            broker.take(outgoing.acknowledged(packet_id))
        elif action == "lose":
            connected = False
            outgoing.connection_lost()
            broker.unacknowledged.clear()
        elif action.startswith("connect") and not connected:
            connected = True
            present = action == "connect"
            broker.take(outgoing.connected(receive_maximum=room, session_present=present))
        assert len(broker.unacknowledged) <= room
        assert connected or not broker.unacknowledged
    while broker.unacknowledged:
        packet_id = next(iter(broker.unacknowledged))
        del broker.unacknowledged[packet_id]
        broker.take(outgoing.acknowledged(packet_id))
    first_seen = list(dict.fromkeys(broker.has))
    assert first_seen == [str(number) for number in range(published)]


def test_what_was_out_keeps_its_identifier_and_says_that_it_comes_again() -> None:
    outgoing = Outgoing()
    list(outgoing.connected(receive_maximum=2, session_present=False))
    (first,) = outgoing.take(Publication("a", b""))
    outgoing.connection_lost()
    assert list(outgoing.take(Publication("b", b""))) == []
    again, second = outgoing.connected(receive_maximum=2, session_present=True)
    assert (again.packet_id, again.dup) == (first.packet_id, True)
    assert (second.publication.topic, second.dup) == ("b", False)
    assert second.packet_id != first.packet_id
