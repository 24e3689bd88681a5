"""The MQTT sessions of the agent, from its configuration."""

from __future__ import annotations

import logging
from collections.abc import Callable

from drupelet_agent.config.agent import AgentConfig
from drupelet_agent.messaging.broker import connection_options
from drupelet_agent.messaging.protocols import BrokerSession, OnConnected, OpenSession
from drupelet_agent.mqtt.connection import BrokerConnection
from drupelet_agent.mqtt.message import Message, Publication
from drupelet_agent.mqtt.status import ConnectionEvent

log = logging.getLogger(__name__)

# A request somewhat larger than the limit is read and refused with a reply; the broker drops one that is far larger.
_REFUSABLE_FACTOR = 2
# Of the memory for messages a quarter each is for requests and replies in progress and for what the socket has not
# taken; the rest is for the packet that is being read, which is held twice while it is decoded.
_BUDGET_PARTS = 4


def message_budget_bytes(config: AgentConfig) -> int:
    """Return how many bytes of requests and replies may be in progress."""
    return config.limits.messages_bytes // _BUDGET_PARTS


def device_session(config: AgentConfig, *, will: Publication) -> OpenSession:
    """Return a function that opens the session of the device, which the broker keeps while the agent is disconnected.

    Args:
        config: The agent's configuration.
        will: Published by the broker when the connection is lost.
    """
    return _opener(config, client_id=config.client_id, will=will)


def pool_session(config: AgentConfig) -> OpenSession:
    """Return a function that opens the session for requests to pools, which ends with its connection."""
    return _opener(config, client_id=f"{config.client_id}-pool", session_expiry_s=0)


def _opener(
    config: AgentConfig, *, client_id: str, session_expiry_s: int | None = None, will: Publication | None = None
) -> OpenSession:
    def open_session(*, on_connected: OnConnected, on_message: Callable[[Message], None]) -> BrokerSession:
        options = connection_options(
            config.broker,
            client_id=client_id,
            receive_maximum=config.limits.queue_length,
            max_packet_bytes=_REFUSABLE_FACTOR * config.limits.max_payload,
            max_pending_bytes=message_budget_bytes(config),
            session_expiry_s=session_expiry_s,
            will=will,
        )
        return BrokerConnection(options, on_connected=on_connected, on_message=on_message, on_event=_log_event)

    return open_session


def _log_event(event: ConnectionEvent) -> None:
    """Log a problem with its remedy; the client reports each problem once, and logs each attempt itself."""
    log.error("%s [%s]", event.message, event.problem.value)
