"""Acknowledgements under any interleaving of deliveries, answers and lost connections."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from drupelet_agent.messaging.acknowledgements import Acknowledgements, PendingAcknowledgement


class Broker(RuleBasedStateMachine):
    """A broker that delivers messages in order and, after a reconnect, once more what was not acknowledged."""

    def __init__(self) -> None:
        super().__init__()
        self.acknowledged: list[int] = []
        self.acknowledgements = Acknowledgements(self.acknowledged.append)
        self.next_id = 1
        # In the order of delivery: messages that await their acknowledgement, and those that the agent processes.
        self.outstanding: list[int] = []
        self.in_work: dict[int, PendingAcknowledgement] = {}
        # Messages that were acknowledged in this session.
        self.confirmed: list[int] = []

    def receive(self) -> None:
        """The broker's end of MQTT 5, section 4.6: acknowledgements come in the order of delivery."""
        while self.acknowledged:
            assert self.outstanding, "an acknowledgement for nothing"
            assert self.acknowledged.pop(0) == self.outstanding[0]
            self.confirmed.append(self.outstanding.pop(0))

    @rule()
    def deliver(self) -> None:
        pending = self.acknowledgements.register(self.next_id, duplicate=False, identity=f"request {self.next_id}")
        assert pending is not None
        self.outstanding.append(self.next_id)
        self.in_work[self.next_id] = pending
        self.next_id += 1
        self.receive()

    @precondition(lambda self: self.in_work)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(list(self.in_work)))
        self.acknowledgements.complete(self.in_work.pop(number))
        self.receive()

    @rule()
    def reconnect(self) -> None:
        self.acknowledgements.connection_lost()
        for number in list(self.outstanding):
            pending = self.acknowledgements.register(number, duplicate=True, identity=f"request {number}")
            assert pending is None, "a request would be processed twice"
            self.receive()

    @precondition(lambda self: self.confirmed)
    @rule(data=st.data())
    def reconnect_before_the_last_acknowledgements_are_through(self, data: st.DataObject) -> None:
        unconfirmed = data.draw(st.integers(1, len(self.confirmed)))
        self.outstanding = self.confirmed[-unconfirmed:] + self.outstanding
        del self.confirmed[-unconfirmed:]
        self.reconnect()

    @rule()
    def lose_the_session(self) -> None:
        self.acknowledgements.session_lost()
        self.outstanding.clear()
        self.confirmed.clear()

    @invariant()
    def what_is_answered_is_acknowledged_unless_something_before_it_is_in_work(self) -> None:
        if self.outstanding:
            assert self.outstanding[0] in self.in_work


Broker.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestAcknowledgements = Broker.TestCase
