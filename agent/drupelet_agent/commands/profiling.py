"""The command that looks inside a model: profile."""

from __future__ import annotations

from drupelet_agent.commands.context import Context
from drupelet_agent.install import profiling
from drupelet_shared.contract.measuring import ProfileReport, ProfileRequest


def profile(request: ProfileRequest, context: Context) -> ProfileReport:
    """Measure what each operator takes."""
    return profiling.profile(request, context.config, observe=context.observe)
