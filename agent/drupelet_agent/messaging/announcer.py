"""What the agent tells without being asked: birth and will, model states, telemetry."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

from drupelet_agent import __version__
from drupelet_agent.messaging.outbox import Outbox
from drupelet_agent.mqtt.message import Publication
from drupelet_shared.contract.messages import DeviceStatus, DeviceTelemetry, Event, ModelState, ModelTelemetry
from drupelet_shared.contract.topics import DeviceTopics

# Hysteresis makes events rare: this many are days of trouble.
_EVENTS_KEPT = 64


class Announcer:
    """Publishes retained states at once and telemetry through a bounded outbox, the oldest dropped first."""

    def __init__(
        self,
        topics: DeviceTopics,
        *,
        session: str,
        publish: Callable[[Publication], None],
        connected: Callable[[], bool],
        outbox_length: int,
    ) -> None:
        self._topics = topics
        self._session = session
        self._publish = publish
        self._connected = connected
        self._outbox = Outbox(telemetry_length=outbox_length, events_length=_EVENTS_KEPT)

    @property
    def dropped(self) -> int:
        """Messages that waited for the broker too long and were given up, since the start."""
        return self._outbox.dropped

    def announce(self, states: Iterable[ModelState]) -> None:
        """After each connect: the birth message, every model's state, and the events and telemetry that waited."""
        self._publish(status_publication(self._topics, state="online", session=self._session))
        for state in states:
            self.model_state(state)
        for publication in self._outbox.drain():
            self._publish(publication)

    def farewell(self) -> None:
        """Before a disconnect in good order, which sends no will."""
        self._publish(status_publication(self._topics, state="offline", session=self._session))

    def model_state(self, state: ModelState) -> None:
        """Say what runs for a model; while there is no connection, `announce` will."""
        if self._connected():
            self._publish(Publication(self._topics.model_state(state.model), state.to_bytes(), retain=True))

    def model_telemetry(self, telemetry: ModelTelemetry) -> None:
        """Publish one model's window."""
        self._telemetry(Publication(self._topics.model_telemetry(telemetry.model), telemetry.to_bytes(), qos=0))

    def device_telemetry(self, telemetry: DeviceTelemetry) -> None:
        """Publish the device's numbers."""
        self._telemetry(Publication(self._topics.device_telemetry, telemetry.to_bytes(), qos=0))

    def event(self, event: Event) -> None:
        """Publish a limit that was crossed."""
        publication = Publication(self._topics.event, event.to_bytes())
        if self._connected():
            self._publish(publication)
        else:
            self._outbox.keep_event(publication)

    def _telemetry(self, publication: Publication) -> None:
        if self._connected():
            self._publish(publication)
        else:
            self._outbox.keep_telemetry(publication)


def status_publication(topics: DeviceTopics, *, state: Literal["online", "offline"], session: str) -> Publication:
    """The birth message or the will; they share `session`, so a late will is told from a newer birth."""
    status = DeviceStatus(state=state, device=topics.device, session=session, agent_version=__version__)
    return Publication(topics.status, status.to_bytes(), retain=True)
