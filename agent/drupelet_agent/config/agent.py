"""The agent's configuration as a whole."""

from __future__ import annotations

import socket
from pathlib import Path

from pydantic import Field

from drupelet_agent.config.broker import BrokerConfig
from drupelet_agent.config.limits import LimitsConfig
from drupelet_agent.config.packages import DeliveryConfig, TrustConfig
from drupelet_agent.config.section import Section
from drupelet_agent.config.telemetry import LogConfig, TelemetryConfig
from drupelet_agent.config.tuning import ContractConfig, ModelConfig, RetuneConfig, TuningConfig
from drupelet_shared.labels import Labels
from drupelet_shared.names import NAME_PATTERN, Name


class AgentConfig(Section):
    """The agent's configuration; relative paths are relative to the file.

    Attributes:
        device: The name of the device in its topics; the host name by default.
        pools: The pools of which the device is a member; the members share the requests to a pool.
        labels: Names and values by which operators choose devices, such as `site = "berlin"`; 16 at most. They are
            published with the device's status.
        state_dir: The folder of packages and measurements.
        home_assistant: Announce the device and its sensors to Home Assistant by MQTT discovery.
        broker: The connection to the broker.
        trust: The packages that the agent accepts.
        limits: The budgets of the agent.
        tuning: How variants are measured, and which one is the best.
        retune: When a running agent measures again.
        contract: What a release must keep while it serves.
        models: The settings of single models, by name.
        delivery: What packages that arrive over the network may use.
        telemetry: Telemetry and events.
        log: The log on standard error.
    """

    device: Name = Field(default_factory=socket.gethostname, pattern=NAME_PATTERN, validate_default=True)
    pools: tuple[Name, ...] = ()
    labels: Labels = Field(default_factory=dict)
    state_dir: Path = Path("/var/lib/drupelet")
    home_assistant: bool = False
    broker: BrokerConfig = BrokerConfig()
    trust: TrustConfig = TrustConfig()
    limits: LimitsConfig = LimitsConfig()
    tuning: TuningConfig = TuningConfig()
    retune: RetuneConfig = RetuneConfig()
    contract: ContractConfig = ContractConfig()
    models: dict[Name, ModelConfig] = Field(default_factory=dict)
    delivery: DeliveryConfig = DeliveryConfig()
    telemetry: TelemetryConfig = TelemetryConfig()
    log: LogConfig = LogConfig()

    @property
    def client_id(self) -> str:
        """The MQTT client identifier of the device's session, to which those of its other sessions add a suffix."""
        return self.broker.client_id or f"drupelet-{self.device}"

    def counts_labels(self, model: str) -> bool:
        """Return whether the labels that a model finds are counted."""
        own = self.models.get(model, ModelConfig())
        return own.count_labels

    def tuning_of(self, model: str) -> TuningConfig:
        """Return the tuning of one model."""
        own = self.models.get(model, ModelConfig())
        changes = {"objective": own.objective, "max_p99_ms": own.max_p99_ms}
        return self.tuning.model_copy(update={key: value for key, value in changes.items() if value is not None})

    def contract_of(self, model: str) -> ContractConfig:
        """Return the contract of one model."""
        return self.models.get(model, ModelConfig()).contract or self.contract
