"""The commands that measure: install and tune."""

from __future__ import annotations

import time

from drupelet_agent.commands.context import Context, released
from drupelet_agent.delivery.sources import obtained
from drupelet_agent.install import activation
from drupelet_agent.install.activation import Progress
from drupelet_agent.install.binding import Expected
from drupelet_shared.contract.commands import InstalledRelease, InstallRequest, TuneRequest
from drupelet_shared.contract.sources import shown_source
from drupelet_shared.units import format_bytes

_REPORT_INTERVAL_S = 1.0


def install(request: InstallRequest, context: Context) -> InstalledRelease:
    """Obtain a package from its source and install it."""
    with obtained(request.source, context.config, on_bytes=FetchProgress(context)) as archive:
        context.observe(Progress("received", f"{archive.name}, {format_bytes(archive.stat().st_size)}"))
        return released(
            activation.install(
                archive,
                context.config,
                observe=context.observe,
                expected=Expected(model=request.model, version=request.version, digest=request.digest),
                activate=request.activate,
                why=f"asked for over MQTT, from {shown_source(request.source)}",
            )
        )


class FetchProgress:
    """Reports a download, at most once a second."""

    def __init__(self, context: Context) -> None:
        """Report to the observer of a command.

        Args:
            context: The command's.
        """
        self._context = context
        self._next_s = 0.0

    def __call__(self, done: int, total: int | None) -> None:
        """Take the number of bytes that have come, and of all, where it is known."""
        now_s = time.monotonic()
        if now_s >= self._next_s or done == total:
            self._next_s = now_s + _REPORT_INTERVAL_S
            of = f" of {format_bytes(total)}" if total is not None else ""
            self._context.observe(Progress("fetching", f"{format_bytes(done)}{of}", done_bytes=done, total_bytes=total))


def tune(request: TuneRequest, context: Context) -> InstalledRelease:
    """Measure the active release again."""
    return released(
        activation.tune(request.model, context.config, why="asked for over MQTT", fresh=True, observe=context.observe)
    )
