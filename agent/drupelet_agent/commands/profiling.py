"""The command `profile`."""

from __future__ import annotations

from drupelet_agent.commands.context import Context
from drupelet_agent.install import profiling
from drupelet_shared.contract.measuring import ProfileReport, ProfileRequest


def profile(request: ProfileRequest, context: Context) -> ProfileReport:
    """Measure the time of each operator."""
    return profiling.profile(request, context.config, observe=context.observe)
