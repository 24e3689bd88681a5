"""Publishes the device's own announcements: birth and will, model states, telemetry, events."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from drupelet_agent import __version__
from drupelet_agent.messaging.outbox import Outbox
from drupelet_agent.messaging.protocols import BrokerSession
from drupelet_agent.mqtt.message import Publication
from drupelet_agent.mqtt.outcome import PublishOutcome
from drupelet_shared.contract.messages import (
    DeviceStatus,
    DeviceTelemetry,
    Event,
    ModelState,
    ModelTelemetry,
    StoreState,
    TelemetryHistory,
)
from drupelet_shared.contract.topics import DeviceTopics

log = logging.getLogger(__name__)

# Hysteresis makes events rare: so many cover days of trouble.
_EVENTS_LENGTH = 64
_SHORT_ERROR_CHARACTERS = 100


class Announcer:
    """Publishes retained states at once, and telemetry through a bounded outbox while there is no connection."""

    def __init__(
        self,
        topics: DeviceTopics,
        session: BrokerSession,
        *,
        run_id: str,
        outbox_length: int,
        labels: Mapping[str, str] | None = None,
        measures: bool = False,
    ) -> None:
        """Create an announcer.

        Args:
            topics: The topics of this device.
            session: The MQTT session.
            run_id: Identifies this run of the agent in birth message and will.
            outbox_length: How many telemetry messages wait for the broker at most.
            labels: The device's labels.
            measures: Whether the device times candidates of a compiler.
        """
        self._topics = topics
        self._session = session
        self._run_id = run_id
        self._labels = labels
        self._measures = measures
        self._store: StoreState | None = None
        self._store_error: str | None = None
        self._outbox = Outbox(telemetry_length=outbox_length, events_length=_EVENTS_LENGTH)

    @property
    def dropped(self) -> int:
        """How many telemetry messages and events were dropped since the start, because the broker was away."""
        return self._outbox.dropped

    def announce(self, states: Iterable[ModelState]) -> None:
        """Publish the birth message, every model's state, and what waited for the connection."""
        self._publish_birth()
        for state in states:
            self.model_state(state)
        for publication in self._outbox.drain():
            self._session.publish(publication)

    def store_state(self, store: StoreState, error: str | None) -> None:
        """Publish whether the store can be read and written; every later birth message says it too.

        Args:
            store: The state of the store.
            error: What is wrong with it; None if nothing is.
        """
        self._store, self._store_error = store, error
        if self._session.connected:
            self._publish_birth()

    def announce_offline(self, *, on_done: Callable[[], None]) -> None:
        """Publish that the device goes offline, since a disconnect in good order sends no will.

        Args:
            on_done: Called when the broker has acknowledged the message or refused it.
        """
        publication = offline_publication(self._topics, run_id=self._run_id, labels=self._labels)
        self._session.publish(publication, on_outcome=lambda _outcome, _reason: on_done())

    def model_state(self, state: ModelState) -> None:
        """Publish what runs for a model, shortened if it is too large; without a connection `announce` will."""
        if self._session.connected:
            self._session.publish(self._state_publication(state), on_outcome=partial(self._shorten, state))

    def model_telemetry(self, telemetry: ModelTelemetry) -> None:
        """Publish one window of a model."""
        self._telemetry(Publication(self._topics.model_telemetry(telemetry.model), telemetry.to_bytes(), qos=0))

    def device_telemetry(self, telemetry: DeviceTelemetry) -> None:
        """Publish the device's numbers."""
        self._telemetry(Publication(self._topics.device_telemetry, telemetry.to_bytes(), qos=0))

    def telemetry_history(self, history: TelemetryHistory) -> None:
        """Publish the latest points, retained; without a connection the next message will have them too."""
        if self._session.connected:
            self._session.publish(Publication(self._topics.telemetry_history, history.to_bytes(), retain=True))

    def event(self, event: Event) -> None:
        """Publish an event."""
        publication = Publication(self._topics.event, event.to_bytes())
        if self._session.connected:
            self._session.publish(publication)
        else:
            self._outbox.add_event(publication)

    def _publish_birth(self) -> None:
        status = DeviceStatus(
            state="online",
            device=self._topics.device,
            session=self._run_id,
            agent_version=__version__,
            store=self._store,
            store_error=self._store_error,
            measures=self._measures,
            labels=_or_absent(self._labels),
        )
        self._session.publish(_status_publication(self._topics, status))

    def _telemetry(self, publication: Publication) -> None:
        if self._session.connected:
            self._session.publish(publication)
        else:
            self._outbox.add_telemetry(publication)

    def _state_publication(self, state: ModelState) -> Publication:
        return Publication(self._topics.model_state(state.model), state.to_bytes(), retain=True)

    def _shorten(self, state: ModelState, outcome: PublishOutcome, reason: str) -> None:
        if outcome is PublishOutcome.TOO_LARGE:
            log.warning("state of model %s is published without plan, tensors and changes: %s", state.model, reason)
            self._session.publish(self._state_publication(shorten_state(state)))


def shorten_state(state: ModelState) -> ModelState:
    """Return a model's state without what makes it long: plan, tensors, changes, and the end of its error."""
    error = state.error
    if error is not None and len(error) > _SHORT_ERROR_CHARACTERS:
        error = f"{error[:_SHORT_ERROR_CHARACTERS]}…"
    removed = ("plan", "inputs", "outputs", "changes", "earlier_versions")
    return state.model_copy(update={**dict.fromkeys(removed), "error": error})


def offline_publication(topics: DeviceTopics, *, run_id: str, labels: Mapping[str, str] | None = None) -> Publication:
    """Return the will; a reader ignores one whose `run_id` is not that of the latest birth message.

    Args:
        topics: The topics of this device.
        run_id: Identifies this run of the agent.
        labels: The device's labels.

    Returns:
        The will, retained.
    """
    status = DeviceStatus(
        state="offline",
        device=topics.device,
        session=run_id,
        agent_version=__version__,
        labels=_or_absent(labels),
    )
    return _status_publication(topics, status)


def _or_absent(labels: Mapping[str, str] | None) -> dict[str, str] | None:
    return dict(labels) if labels else None


def _status_publication(topics: DeviceTopics, status: DeviceStatus) -> Publication:
    return Publication(topics.status, status.to_bytes(), retain=True)
