"""The commands that measure: install and tune."""

from __future__ import annotations

import stat
from pathlib import Path
from urllib.parse import unquote, urlsplit

from drupelet_agent import activation
from drupelet_agent.activation import Expected, Progress
from drupelet_agent.commands.context import Context, released
from drupelet_agent.errors import SourceError
from drupelet_shared.commands import InstalledRelease, InstallRequest, TuneRequest
from drupelet_shared.units import format_bytes


def install(request: InstallRequest, context: Context) -> InstalledRelease:
    """Take a package from its source and install it."""
    expected = Expected(model=request.model, version=request.version, digest=request.digest)
    archive = _find_file(request.source)
    context.observe(Progress("received", f"{archive.name}, {format_bytes(archive.stat().st_size)}"))
    return released(
        activation.install(
            archive,
            context.config,
            observe=context.observe,
            expected=expected,
            activate=request.activate,
            why=f"asked for over MQTT, from {request.source}",
        )
    )


def tune(request: TuneRequest, context: Context) -> InstalledRelease:
    """Measure the active release again."""
    return released(
        activation.tune(request.model, context.config, why="asked for over MQTT", fresh=True, observe=context.observe)
    )


def _find_file(source: str) -> Path:
    path = Path(unquote(urlsplit(source).path))
    try:
        is_file = stat.S_ISREG(path.stat().st_mode)
    except OSError as error:
        raise SourceError(f"source {source}: {error.strerror}") from error
    if not is_file:
        raise SourceError(f"source {source}: not a regular file")
    return path
