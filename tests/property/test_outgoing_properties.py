"""Publications of QoS 1: whatever happens to the connection, each goes out until it is acknowledged."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from drupelet_agent.mqtt.message import Publication
from drupelet_agent.mqtt.outgoing import Delivery, Outgoing
from drupelet_agent.mqtt.packet_ids import PacketIds


def delivery(topic: str) -> Delivery:
    return Delivery(Publication(topic, b""), size_bytes=10)


class Broker:
    """The publications of one session that a broker has received."""

    def __init__(self) -> None:
        self.received: list[str] = []
        self.unacknowledged: dict[int, str] = {}

    def receive(self, outgoing: Outgoing) -> None:
        """Receive everything that may be sent now."""
        while (sent := outgoing.next_ready()) is not None:
            assert sent.packet_id not in self.unacknowledged
            topic = sent.publication.topic
            self.unacknowledged[sent.packet_id] = topic
            if not (sent.is_dup and topic in self.received):
                self.received.append(topic)

    def acknowledge(self, outgoing: Outgoing) -> None:
        """Acknowledge the oldest, and receive what may follow."""
        packet_id = next(iter(self.unacknowledged))
        del self.unacknowledged[packet_id]
        assert outgoing.finish(packet_id) is not None
        self.receive(outgoing)


ACTIONS = st.lists(
    st.sampled_from(["publish", "publish", "acknowledge", "lose", "connect", "connect without session"]), max_size=60
)


@given(ACTIONS, st.integers(1, 4))
def test_everything_arrives_in_order_within_the_receive_maximum(actions: list[str], receive_maximum: int) -> None:
    outgoing, broker, connected, published = Outgoing(PacketIds()), Broker(), False, 0
    for action in [*actions, "connect"]:
        if action == "publish":
            outgoing.add(delivery(str(published)))
            broker.receive(outgoing)
            published += 1
        elif action == "acknowledge" and broker.unacknowledged:
            broker.acknowledge(outgoing)
        elif action == "lose":
            connected = False
            assert outgoing.connection_lost(blamed_up_to=0) is None
            broker.unacknowledged.clear()
        elif action.startswith("connect") and not connected:
            connected = True
            outgoing.connection_opened(receive_maximum=receive_maximum, session_present=action == "connect")
            broker.receive(outgoing)
        assert len(broker.unacknowledged) <= receive_maximum
        assert connected or not broker.unacknowledged
    while broker.unacknowledged:
        broker.acknowledge(outgoing)
    first_received = list(dict.fromkeys(broker.received))
    assert first_received == [str(number) for number in range(published)]
    assert outgoing.pending_bytes == len(outgoing) == 0
