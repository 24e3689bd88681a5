"""Where an inference's time goes, by the profiler that an engine brings along."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

from drupelet_shared.engines.base import Engine, Session


class ProfiledSession(Session, Protocol):
    """A session whose inferences are recorded, operator by operator."""

    def end_profiling(self) -> Path:
        """Write what was recorded, and record no more.

        Returns:
            The file, in the engine's own format, in the folder that was given.
        """


@runtime_checkable
class ProfilingEngine(Engine, Protocol):
    """An engine that has a profiler; the adapters of others lack this method."""

    def load_profiled(self, path: Path, *, threads: int, folder: Path) -> ProfiledSession:
        """Load a model file to profile it; as `Engine.load`, but for the time that recording takes.

        Args:
            path: The file.
            threads: How many threads one inference may use.
            folder: Where the record goes; nothing else is written.
        """
