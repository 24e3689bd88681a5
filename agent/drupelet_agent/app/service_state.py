"""The state of the agent for the service manager: whether it is ready, what is wrong, and one line of status."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from drupelet_agent.app.service_manager import ServiceState
from drupelet_agent.mqtt.status import ConnectionStatus


class SupervisedServer(Protocol):
    """The server of one model."""

    @property
    def health(self) -> str:
        """Its state; "starting" while its workers load."""

    @property
    def stuck(self) -> bool:
        """Whether a worker is beyond its time and was not ended."""


def read_service_state(
    servers: Mapping[str, SupervisedServer],
    connection: ConnectionStatus,
    *,
    broker: str,
    is_store_read: bool,
    is_stalled: bool,
    store_fault: str | None = None,
) -> ServiceState:
    """Return the state of the agent.

    It is ready when its models are loaded and it tries its broker: what is ordered behind the agent must not wait for a
    broker, which may be down for days.

    Args:
        servers: The server of each model.
        connection: The state of the connection to the broker.
        broker: The broker's address.
        is_store_read: Whether the installed models are known.
        is_stalled: Whether a connection's own tasks no longer run.
        store_fault: What is wrong with the store; None if nothing is.
    """
    stuck = [name for name, server in servers.items() if server.stuck]
    starting = [name for name, server in servers.items() if server.health == "starting"]
    fault = f"models stuck: {', '.join(stuck)}" if stuck else None
    if is_stalled:
        fault = "the broker connection's tasks no longer run"
    status = f"loading {', '.join(starting)}" if starting else f"serving {', '.join(servers) or 'no model'}"
    if not connection.connected:
        why = f" ({connection.explanation})" if connection.explanation else ""
        status = f"waiting for the broker {broker}{why}; {status}"
    elif connection.explanation:
        status = f"{status}; {connection.explanation}"
    if store_fault is not None:
        status = f"{store_fault}; {status}"
    return ServiceState(ready=is_store_read and not starting, fault=fault, status=status)
