"""The state that the agent reports to the service manager."""

from __future__ import annotations

from dataclasses import dataclass

from drupelet_agent.app.service_manager import ServiceState
from drupelet_agent.app.service_state import read_service_state
from drupelet_agent.mqtt.status import ConnectionProblem, ConnectionStatus

CONNECTED = ConnectionStatus(connected=True, problem=None, explanation="")
REFUSED = ConnectionStatus(
    connected=False, problem=ConnectionProblem.ACCOUNT_REFUSED, explanation="Not authorized: correct the password"
)


@dataclass(frozen=True)
class Server:
    """The server of one model."""

    health: str = "ready"
    stuck: bool = False


def read(
    connection: ConnectionStatus = CONNECTED,
    *,
    is_store_read: bool = True,
    is_stalled: bool = False,
    **servers: Server,
) -> ServiceState:
    return read_service_state(servers, connection, broker="pi:1883", is_store_read=is_store_read, is_stalled=is_stalled)


def test_it_is_ready_when_its_models_are_loaded() -> None:
    assert not read(is_store_read=False).ready
    assert not read(digits=Server("starting"), faces=Server()).ready
    assert read(digits=Server("failed"), faces=Server()).ready


def test_it_is_ready_without_a_broker_and_says_why_there_is_none() -> None:
    state = read(REFUSED, digits=Server())
    assert state.ready
    assert state.fault is None
    assert state.status == ("waiting for the broker pi:1883 (Not authorized: correct the password); serving digits")


def test_its_status_names_what_loads_and_what_serves() -> None:
    assert read(digits=Server("starting"), faces=Server()).status == "loading digits"
    assert read(digits=Server(), faces=Server()).status == "serving digits, faces"
    assert read().status == "serving no model"


def test_a_connected_broker_that_lacks_something_stands_in_the_status() -> None:
    lacking = CONNECTED._replace(explanation="the broker accepts QoS 0 only")
    assert read(lacking).status == "serving no model; the broker accepts QoS 0 only"


def test_a_worker_that_is_stuck_and_a_connection_that_stalls_are_faults() -> None:
    assert read(digits=Server(stuck=True)).fault == "models stuck: digits"
    assert read(is_stalled=True).fault == "the broker connection's tasks no longer run"
