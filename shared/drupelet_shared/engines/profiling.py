"""Protocols for engines that record the time of each operator."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

from drupelet_shared.engines.base import Engine, Session


class ProfiledSession(Session, Protocol):
    """A session that records the time of each operator."""

    def end_profiling(self) -> Path:
        """Write the recorded times and stop recording.

        Returns:
            The file, in the engine's own format, in the folder given to `load_profiled`.
        """


@runtime_checkable
class ProfilingEngine(Engine, Protocol):
    """An engine with a profiler; the adapters of other engines lack this method."""

    def load_profiled(self, path: Path, *, threads: int, folder: Path) -> ProfiledSession:
        """Load a model file to profile it; recording makes its inferences slower.

        Args:
            path: The file.
            threads: Threads of one inference.
            folder: The folder for the profile.

        Returns:
            A session that records each inference.
        """
