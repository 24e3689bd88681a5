"""The arguments of a command besides its request, and the release that it returns."""

from __future__ import annotations

from dataclasses import dataclass

from drupelet_agent.config.agent import AgentConfig
from drupelet_agent.install.activation import Observe
from drupelet_agent.store.records import Activation
from drupelet_shared.contract.commands import InstalledRelease


@dataclass(frozen=True, slots=True)
class Context:
    """The arguments of a command besides its request.

    Attributes:
        config: The configuration of the agent.
        observe: Receives the progress of the command.
        gate_descriptor: The shared memory of the serving gate; None outside a running agent.
    """

    config: AgentConfig
    observe: Observe
    gate_descriptor: int | None = None


def released(activation: Activation) -> InstalledRelease:
    """Return a release of the store as a message."""
    return InstalledRelease.model_validate(activation.model_dump())
