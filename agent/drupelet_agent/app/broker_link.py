"""Everything that the agent exchanges with its broker, from the first connect to the last acknowledgement."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Protocol

from drupelet_agent.messaging.announcer import Announcer
from drupelet_agent.messaging.dispatcher import Dispatcher
from drupelet_agent.messaging.protocols import BrokerSession, OpenSession
from drupelet_agent.messaging.reply_publisher import ReplyPublisher
from drupelet_agent.messaging.requests import JobServer, RequestHandler
from drupelet_agent.mqtt.message import Message
from drupelet_agent.serving.byte_budget import ByteBudget
from drupelet_agent.serving.clock import Clock, EventLoopClock
from drupelet_shared.contract.messages import Event, ModelState
from drupelet_shared.contract.topics import DeviceTopics, MemberTopics

if TYPE_CHECKING:
    from drupelet_agent.messaging.home_assistant.discovery import Discovery
    from drupelet_agent.messaging.pool import PoolMembership

_DRAIN_S = 5.0
# Replies that the broker refuses can be provoked by any client, so at most one event a minute reports them.
_EVENT_INTERVAL_S = 60.0


class ServedModels(Protocol):
    """The models that answer requests."""

    def find(self, model: str, version: str | None) -> JobServer:
        """Return the server of a model and version, or raise a `RequestError`."""

    def states(self) -> Iterable[ModelState]:
        """Return every model's state."""


class BrokerLink:
    """Dispatches messages, answers requests and announces the device; everything runs on the event loop.

    Attributes:
        session: The MQTT session of the device.
        dispatcher: Maps topics to handlers; further handlers are registered before `run`.
        replies: Publishes replies to other messages than requests.
        announcer: Publishes states, telemetry and events.
    """

    def __init__(
        self,
        topics: DeviceTopics,
        models: ServedModels,
        *,
        open_session: OpenSession,
        budget: ByteBudget,
        run_id: str,
        outbox_length: int,
        labels: Mapping[str, str] | None = None,
        measures: bool = False,
        discovery: Discovery | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Create the link; nothing is sent before `run`.

        Args:
            topics: The topics of this device.
            models: Answer the requests.
            open_session: Creates the device's MQTT session.
            budget: Bounds the bytes of requests and replies in progress.
            run_id: Identifies this run of the agent in birth message and will.
            outbox_length: How many telemetry messages wait for the broker at most.
            labels: The device's labels, which birth message and will carry.
            measures: Whether the device times candidates of a compiler, which the birth message says.
            discovery: Describes the device to Home Assistant; None where it is not configured.
            clock: Time and timers; the event loop's if None.
        """
        self._topics = topics
        self._models = models
        self._budget = budget
        self._clock = clock or EventLoopClock()
        self._discovery = discovery
        self._pool: PoolMembership | None = None
        self._on_connect: list[Callable[[bool], None]] = []
        self._undeliverable = 0
        self._next_event_s = 0.0
        self.session: BrokerSession = open_session(on_connected=self._on_connected, on_message=self._on_message)
        self.dispatcher = Dispatcher(self.session)
        self.replies = ReplyPublisher(self.session.publish, on_undeliverable=self._report_undeliverable)
        self.announcer = Announcer(
            topics, self.session, run_id=run_id, outbox_length=outbox_length, labels=labels, measures=measures
        )
        self._requests = RequestHandler(
            topics,
            models.find,
            filters=topics.infer_filters,
            replies=self.replies,
            budget=budget,
            corked=self.session.corked,
            unacknowledged=lambda: self.dispatcher.unacknowledged,
            clock=self._clock,
        )
        self.dispatcher.register_deferring(self._requests)
        if discovery is not None:
            from drupelet_agent.messaging.home_assistant.discovery import BirthHandler  # noqa: PLC0415 - rarely used

            self.dispatcher.register(BirthHandler(self._announce))

    @property
    def stalled(self) -> bool:
        """Whether a connection's own tasks no longer run."""
        return self.session.stalled or (self._pool is not None and self._pool.stalled)

    def join_pools(self, topics: MemberTopics, open_session: OpenSession) -> None:
        """Take part in pools as well.

        Args:
            topics: The topics of this device and its pools.
            open_session: Creates the MQTT session of the membership.
        """
        from drupelet_agent.messaging.pool import PoolMembership  # noqa: PLC0415 - rarely used

        self._pool = PoolMembership(
            topics,
            self._models.find,
            open_session=open_session,
            budget=self._budget,
            on_undeliverable=self._report_undeliverable,
            clock=self._clock,
        )

    def on_connect(self, listener: Callable[[bool], None]) -> None:
        """Call a listener after each connect, before any message, with whether the broker still has the session."""
        self._on_connect.append(listener)

    def publish_state(self, state: ModelState) -> None:
        """Publish what runs for a model, and describe the device again if its models may have changed."""
        self.announcer.model_state(state)
        self._describe()

    async def run(self) -> None:
        """Stay connected until cancelled."""
        await asyncio.gather(self.session.run(), *([self._pool.run()] if self._pool is not None else []))

    def close(self) -> None:
        """Receive no more messages; those that arrive stay with the broker."""
        self.dispatcher.close()
        self._requests.stop()
        if self._pool is not None:
            self._pool.close()

    async def leave(self, *, drain_s: float = _DRAIN_S) -> None:
        """Wait until the replies are acknowledged, say that the device goes offline, and disconnect.

        Requests whose replies are not acknowledged in time stay with the broker. Where even the last message is not
        acknowledged, the connection is left to break, so that the broker publishes the will in its place.

        Args:
            drain_s: How long to wait for acknowledgements.
        """
        if self._pool is not None:
            await self._pool.leave(timeout_s=drain_s)
        if not self.session.connected:
            return
        await self._requests.drain(timeout_s=drain_s)
        offline = asyncio.Event()
        self.announcer.announce_offline(on_done=offline.set)
        try:
            await asyncio.wait_for(offline.wait(), drain_s / 5)
        except TimeoutError:
            return
        await self.session.disconnect()

    def _on_connected(self, *, session_present: bool) -> None:
        for listener in self._on_connect:
            listener(session_present)
        self.dispatcher.connected(session_present=session_present)
        self._announce()

    def _on_message(self, message: Message) -> None:
        self.dispatcher.dispatch(message)

    def _announce(self) -> None:
        self.announcer.announce(self._models.states())
        self._describe()

    def _describe(self) -> None:
        if self._discovery is not None and self.session.connected:
            models = sorted(state.model for state in self._models.states())
            self.session.publish(self._discovery.describe(models))

    def _report_undeliverable(self, reason: str) -> None:
        self._undeliverable += 1
        now_s = time.monotonic()
        if now_s < self._next_event_s:
            return
        self._next_event_s = now_s + _EVENT_INTERVAL_S
        self.announcer.event(
            Event(
                device=self._topics.device,
                kind="reply",
                state="raised",
                value=self._undeliverable,
                limit=0,
                message=f"a reply was replaced by a refusal: {reason}",
            )
        )
