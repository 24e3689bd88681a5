"""The jobs that boards share: models for one engine, packed together with the references for that engine."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from drupelet_host.latency.candidate_package import CandidatePacker
from drupelet_shared.engines.base import Tensors
from drupelet_shared.package.manifest import EngineName


@dataclass(frozen=True, slots=True)
class Job:
    """Models that one board measures together.

    Attributes:
        engine: What runs them.
        models: The model files by name.
        references: The names of those that the others are measured beside.
        package: The file that holds them.
    """

    engine: EngineName
    models: Mapping[str, Path]
    references: frozenset[str]
    package: Path

    @property
    def candidates(self) -> list[str]:
        """The models that are measured beside the references."""
        return [name for name in self.models if name not in self.references]

    @property
    def blamed(self) -> Collection[str]:
        """Who is too large if the package is: a single candidate, or the references alone; none of several."""
        candidates = self.candidates
        return () if len(candidates) > 1 else candidates or self.models


class JobMaker:
    """Packs jobs into a folder."""

    def __init__(self, packer: CandidatePacker, *, feed: Tensors, folder: Path) -> None:
        """Pack nothing yet.

        Args:
            packer: Packs and signs.
            feed: The inputs of one inference.
            folder: Where the packages are written.
        """
        self._packer = packer
        self._feed = feed
        self._folder = folder
        self._numbers = itertools.count()

    def make(self, engine: EngineName, models: Mapping[str, Path], references: Collection[str]) -> Job:
        """Pack models for one engine.

        Args:
            engine: What runs them.
            models: The model files by name.
            references: The names of those that others are measured beside.

        Returns:
            The job, with its package on disk.
        """
        target = self._folder / str(next(self._numbers))
        package = self._packer.pack(models, feed=self._feed, folder=target)
        return Job(engine, models, frozenset(references) & models.keys(), package)

    def split(self, job: Job) -> list[Job]:
        """Return the halves of a job; of one candidate, the references without it, and of those nothing."""
        beside = {name: job.models[name] for name in job.references}
        candidates = job.candidates
        if len(candidates) > 1:
            middle = len(candidates) // 2
            parts = [candidates[:middle], candidates[middle:]]
        else:
            parts = [[]] if candidates and beside else []
        return [
            self.make(job.engine, beside | {name: job.models[name] for name in part}, job.references) for part in parts
        ]
