"""The pools this device belongs to: a connection of its own, whose session ends with it.

mosquitto gives a member whose session outlives its connection its share of the requests while it is gone, and they wait
there; one whose session ends takes no part any more (measured with mosquitto 2: 10 of 20 requests against none).
"""

from __future__ import annotations

from collections.abc import Callable

from drupelet_agent.config.sections import AgentConfig
from drupelet_agent.messaging.broker import connection_options
from drupelet_agent.messaging.requests import RequestRouter
from drupelet_agent.mqtt.connection import BrokerConnection
from drupelet_agent.mqtt.message import Message
from drupelet_agent.serving.server import ModelServer
from drupelet_shared.contract.topics import MemberTopics


class PoolMembership:
    """Takes requests to pools as they come, and answers them as any; everything runs on the event loop."""

    def __init__(
        self, config: AgentConfig, find: Callable[[str, str | None], ModelServer], *, max_packet_bytes: int
    ) -> None:
        self._topics = MemberTopics(config.device, prefix=config.broker.prefix, pools=config.pools)
        self._connection = BrokerConnection(
            connection_options(
                config.broker,
                client_id=f"drupelet-{config.device}-pool",
                receive_maximum=config.limits.queue_length,
                max_packet_bytes=max_packet_bytes,
                session_expiry_s=0,
            ),
            on_connected=self._on_connected,
            on_message=self._on_message,
        )
        self._router = RequestRouter(
            self._topics,
            find,
            publish=self._connection.publish,
            acknowledge=self._connection.acknowledge,
            together=self._connection.corked,
            other=_ignore,
        )

    @property
    def stalled(self) -> bool:
        """Whether the connection's own tasks no longer run."""
        return self._connection.stalled

    async def run(self) -> None:
        """Take part until cancelled."""
        await self._connection.run()

    def close(self) -> None:
        """Take no more requests."""
        self._router.close()

    async def leave(self) -> None:
        """After the last reply, go in good order."""
        if self._connection.connected:
            await self._connection.disconnect()

    def _on_message(self, message: Message) -> None:
        self._router.route(message)

    def _on_connected(self, *, session_present: bool) -> None:
        self._router.connected(session_present=session_present)
        self._connection.subscribe(*self._topics.shared_filters)


def _ignore(_: Message) -> None:
    """Nothing but requests comes to pools."""
