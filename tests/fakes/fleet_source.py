"""A fleet that follows messages a test hands it, by a clock that the test sets."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from drupelet_host.fleet.state import Fleet
from drupelet_shared.contract.topics import FleetTopics
from support.agent.fleets import Announced

Result = TypeVar("Result")


class FakeSource:
    """Implements `FleetSource`."""

    def __init__(self, messages: Iterable[Announced] = ()) -> None:
        self.fleet = Fleet(FleetTopics())
        self.now_s = 1000.0
        self.is_connected = True
        self.notice: str | None = None
        self.take(messages)

    def take(self, messages: Iterable[Announced]) -> None:
        for message in messages:
            self.fleet.receive(message.topic, message.payload, at_s=self.now_s)

    def read(self, view: Callable[[Fleet, float], Result]) -> Result:
        return view(self.fleet, self.now_s)
