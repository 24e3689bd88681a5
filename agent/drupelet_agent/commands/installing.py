"""The commands that measure: install and tune."""

from __future__ import annotations

from drupelet_agent import activation
from drupelet_agent.activation import Expected, Progress
from drupelet_agent.commands.context import Context, released
from drupelet_agent.delivery.sources import obtained
from drupelet_shared.commands import InstalledRelease, InstallRequest, TuneRequest
from drupelet_shared.units import format_bytes


def install(request: InstallRequest, context: Context) -> InstalledRelease:
    """Take a package from its source and install it."""
    with obtained(request.source, context.config) as archive:
        context.observe(Progress("received", f"{archive.name}, {format_bytes(archive.stat().st_size)}"))
        return released(
            activation.install(
                archive,
                context.config,
                observe=context.observe,
                expected=Expected(model=request.model, version=request.version, digest=request.digest),
                activate=request.activate,
                why=f"asked for over MQTT, from {request.source}",
            )
        )


def tune(request: TuneRequest, context: Context) -> InstalledRelease:
    """Measure the active release again."""
    return released(
        activation.tune(request.model, context.config, why="asked for over MQTT", fresh=True, observe=context.observe)
    )
