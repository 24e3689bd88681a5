"""The two MQTT sessions of an agent, as the configuration gives them."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from drupelet_agent.app.sessions import _log_event, device_session, message_budget_bytes, pool_session
from drupelet_agent.config.agent import AgentConfig
from drupelet_agent.messaging.protocols import OpenSession
from drupelet_agent.mqtt.connection import BrokerConnection
from drupelet_agent.mqtt.message import Publication
from drupelet_agent.mqtt.options import ConnectionOptions
from drupelet_agent.mqtt.status import ConnectionEvent, ConnectionProblem
from support.agent.fleet_bench import make_config

MIB = 2**20
WILL = Publication("status", b"offline", retain=True)


@pytest.fixture
def config(tmp_path: Path) -> AgentConfig:
    limits = {"queue_length": 7, "max_payload": "1 MiB", "messages": "40 MiB"}
    return make_config(tmp_path, limits=limits, broker={"session_expiry_s": 60})


def options(open_session: OpenSession) -> ConnectionOptions:
    session = open_session(on_connected=lambda **_: None, on_message=lambda _: None)
    assert isinstance(session, BrokerConnection)
    return session._options


def test_requests_and_replies_have_a_quarter_of_the_memory_for_messages(config: AgentConfig) -> None:
    assert message_budget_bytes(config) == 10 * MIB


def test_the_broker_keeps_the_session_of_the_device_and_announces_its_loss(config: AgentConfig) -> None:
    device = options(device_session(config, will=WILL))
    assert (device.client_id, device.session_expiry_s, device.will) == ("drupelet-pi-test", 60, WILL)
    assert (device.receive_maximum, device.max_packet_bytes, device.max_pending_bytes) == (7, 2 * MIB, 10 * MIB)


def test_the_session_for_pools_ends_with_its_connection_and_has_no_will(config: AgentConfig) -> None:
    pool = options(pool_session(config))
    assert (pool.client_id, pool.session_expiry_s, pool.will) == ("drupelet-pi-test-pool", 0, None)


def test_a_problem_of_a_connection_is_logged_with_its_code(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        _log_event(ConnectionEvent(ConnectionProblem.BUSY, "the broker is busy"))
    assert "the broker is busy [broker_busy]" in caplog.text
