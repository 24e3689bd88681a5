"""Acknowledgements under any interleaving of deliveries, answers and lost connections."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from drupelet_agent.messaging.acknowledgements import Acknowledgements


class Broker(RuleBasedStateMachine):
    """A broker that delivers messages in order and, after a reconnect, once more what was not acknowledged."""

    def __init__(self) -> None:
        super().__init__()
        self.acknowledged: list[int] = []
        self.acknowledgements = Acknowledgements(self.acknowledged.append)
        self.next_id = 1
        # In the order of delivery: what the broker waits to hear about, and what the agent has still to answer.
        self.outstanding: list[int] = []
        self.in_work: list[int] = []
        # What it was told of in this session.
        self.heard: list[int] = []

    def hear(self) -> None:
        """The broker's end of MQTT 5, section 4.6: acknowledgements come in the order of delivery."""
        while self.acknowledged:
            assert self.outstanding, "an acknowledgement for nothing"
            assert self.acknowledged.pop(0) == self.outstanding[0]
            self.heard.append(self.outstanding.pop(0))

    @rule()
    def deliver(self) -> None:
        assert self.acknowledgements.is_new(self.next_id, duplicate=False, identity=f"request {self.next_id}")
        self.outstanding.append(self.next_id)
        self.in_work.append(self.next_id)
        self.next_id += 1
        self.hear()

    @precondition(lambda self: self.in_work)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(self.in_work))
        self.in_work.remove(number)
        self.acknowledgements.done(number)
        self.hear()

    @rule()
    def reconnect(self) -> None:
        self.acknowledgements.connection_lost()
        for number in list(self.outstanding):
            is_new = self.acknowledgements.is_new(number, duplicate=True, identity=f"request {number}")
            assert not is_new, "a request would be worked on twice"
            self.hear()

    @precondition(lambda self: self.heard)
    @rule(data=st.data())
    def reconnect_before_the_last_acknowledgements_are_through(self, data: st.DataObject) -> None:
        unheard = data.draw(st.integers(1, len(self.heard)))
        self.outstanding = self.heard[-unheard:] + self.outstanding
        del self.heard[-unheard:]
        self.reconnect()

    @rule()
    def lose_the_session(self) -> None:
        self.acknowledgements.session_lost()
        self.outstanding.clear()
        self.heard.clear()

    @invariant()
    def what_is_answered_is_acknowledged_unless_something_before_it_is_in_work(self) -> None:
        if self.outstanding:
            assert self.outstanding[0] in self.in_work


Broker.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestAcknowledgements = Broker.TestCase
