"""Publications that wait for the broker to come back: the oldest is dropped first, and every drop is counted."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from drupelet_agent.mqtt.message import Publication


class Outbox:
    """Two bounded queues, so that a flood of telemetry drops no event.

    Attributes:
        dropped: How many publications were dropped since the start.
    """

    def __init__(self, *, telemetry_length: int, events_length: int) -> None:
        """Start empty.

        Args:
            telemetry_length: How many telemetry messages wait at most.
            events_length: How many events wait at most.
        """
        self._events: deque[Publication] = deque(maxlen=events_length)
        self._telemetry: deque[Publication] = deque(maxlen=telemetry_length)
        self.dropped = 0

    def add_telemetry(self, publication: Publication) -> None:
        """Add a telemetry message, and drop the oldest if there are too many."""
        self._add(self._telemetry, publication)

    def add_event(self, publication: Publication) -> None:
        """Add an event, and drop the oldest if there are too many."""
        self._add(self._events, publication)

    def drain(self) -> Iterator[Publication]:
        """Remove and yield everything: events first, each queue from the oldest to the newest."""
        for queue in (self._events, self._telemetry):
            while queue:
                yield queue.popleft()

    def _add(self, queue: deque[Publication], publication: Publication) -> None:
        self.dropped += len(queue) == queue.maxlen
        queue.append(publication)
