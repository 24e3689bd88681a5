"""The whole examination: files, engines, the device itself, then the broker."""

from __future__ import annotations

from datetime import UTC, datetime

from drupelet_agent.config.agent import AgentConfig
from drupelet_agent.doctor.broker import examine_broker
from drupelet_agent.doctor.certificates import examine_certificates
from drupelet_agent.doctor.clock import examine_clock, is_synchronised
from drupelet_agent.doctor.engines import examine_engines
from drupelet_agent.doctor.files import examine_files
from drupelet_agent.doctor.findings import Finding
from drupelet_agent.doctor.system import examine_system


def examine(config: AgentConfig) -> list[Finding]:
    """Examine everything, in an order in which earlier findings explain later ones."""
    synchronised = is_synchronised()
    return [
        *examine_files(config),
        *examine_engines(config),
        *examine_system(config),
        examine_clock(synchronised=synchronised, matters=config.broker.tls is not None),
        *examine_certificates(config.broker, now=datetime.now(UTC), clock_is_right=synchronised),
        *examine_broker(config),
    ]
