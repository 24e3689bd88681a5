"""What waits for the broker to come back: the oldest goes first, and what is given up is counted."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from drupelet_agent.mqtt.message import Publication


class Outbox:
    """Two bounded queues, so that a flood of telemetry does not push out events."""

    def __init__(self, *, telemetry_length: int, events_length: int) -> None:
        self._events: deque[Publication] = deque(maxlen=events_length)
        self._telemetry: deque[Publication] = deque(maxlen=telemetry_length)
        self.dropped = 0

    def keep_telemetry(self, publication: Publication) -> None:
        """Keep numbers; the oldest make room."""
        self._keep(self._telemetry, publication)

    def keep_event(self, publication: Publication) -> None:
        """Keep a change of state; the oldest make room."""
        self._keep(self._events, publication)

    def drain(self) -> Iterator[Publication]:
        """Everything that waits, events first, each from oldest to newest."""
        for queue in (self._events, self._telemetry):
            while queue:
                yield queue.popleft()

    def _keep(self, queue: deque[Publication], publication: Publication) -> None:
        self.dropped += len(queue) == queue.maxlen
        queue.append(publication)
