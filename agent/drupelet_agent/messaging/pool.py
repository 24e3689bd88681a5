"""Membership in pools: a connection of its own, whose session ends with it.

mosquitto keeps sending a share of the requests to a member whose session outlives its connection, where they wait; a
member whose session ends receives none (measured with mosquitto 2: 10 of 20 requests against 0).
"""

from __future__ import annotations

from collections.abc import Callable

from drupelet_agent.messaging.dispatcher import Dispatcher
from drupelet_agent.messaging.protocols import OpenSession
from drupelet_agent.messaging.reply_publisher import ReplyPublisher
from drupelet_agent.messaging.requests import JobServer, RequestHandler
from drupelet_agent.mqtt.message import Message
from drupelet_agent.serving.byte_budget import ByteBudget
from drupelet_agent.serving.clock import Clock
from drupelet_shared.contract.topics import MemberTopics


class PoolMembership:
    """Receives the requests to this device's pools and answers them; everything runs on the event loop."""

    def __init__(
        self,
        topics: MemberTopics,
        find: Callable[[str, str | None], JobServer],
        *,
        open_session: OpenSession,
        budget: ByteBudget,
        on_undeliverable: Callable[[str], None],
        clock: Clock,
    ) -> None:
        """Create a membership; nothing is sent before `run`.

        Args:
            topics: The topics of this device and its pools.
            find: Returns the server of a model and version, or raises a `RequestError`.
            open_session: Creates the MQTT session of the membership.
            budget: Bounds the bytes of requests and replies in progress, for the device as a whole.
            on_undeliverable: Receives the reason of each reply that the broker does not accept.
            clock: Limits the wait for the acknowledgement of a reply.
        """
        self._session = open_session(on_connected=self._on_connected, on_message=self._on_message)
        self._requests = RequestHandler(
            topics,
            find,
            filters=topics.shared_filters,
            replies=ReplyPublisher(self._session.publish, on_undeliverable=on_undeliverable),
            budget=budget,
            corked=self._session.corked,
            unacknowledged=lambda: self._dispatcher.unacknowledged,
            clock=clock,
        )
        self._dispatcher = Dispatcher(self._session)
        self._dispatcher.register_deferring(self._requests)

    @property
    def stalled(self) -> bool:
        """Whether the connection's own tasks no longer run."""
        return self._session.stalled

    async def run(self) -> None:
        """Take part until cancelled."""
        await self._session.run()

    def close(self) -> None:
        """Receive no more requests."""
        self._dispatcher.close()
        self._requests.stop()

    async def leave(self, *, timeout_s: float) -> None:
        """Wait until the last reply is acknowledged, for at most `timeout_s`, and disconnect."""
        if self._session.connected:
            await self._requests.drain(timeout_s=timeout_s)
            await self._session.disconnect()

    def _on_message(self, message: Message) -> None:
        self._dispatcher.dispatch(message)

    def _on_connected(self, *, session_present: bool) -> None:
        self._dispatcher.connected(session_present=session_present)
