"""What a command is handed besides its request."""

from __future__ import annotations

from dataclasses import dataclass

from drupelet_agent.config.agent import AgentConfig
from drupelet_agent.install.activation import Observe
from drupelet_agent.store.records import Activation
from drupelet_shared.contract.commands import InstalledRelease

# Long enough for another process's last step, a rename and two syncs to an SD card.
STORE_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Context:
    """What a command is handed besides its request.

    Attributes:
        config: The agent's configuration.
        observe: Who is told how far the command is.
        gate_descriptor: The shared memory of the serving gate; None outside a running agent.
    """

    config: AgentConfig
    observe: Observe
    gate_descriptor: int | None = None


def released(activation: Activation) -> InstalledRelease:
    """A release of the store as commands tell it."""
    return InstalledRelease.model_validate(activation.model_dump())
