"""Scores model files while a pass chooses between them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from drupelet_host.compiler.state import CompileState
from drupelet_host.data.samples import Samples
from drupelet_host.evaluation.measurement import THREADS, engine_of
from drupelet_host.evaluation.metrics import Metric
from drupelet_host.evaluation.scoring import evaluate_session
from drupelet_shared.engines.registry import load_engine


@dataclass(frozen=True, slots=True)
class FileJudge:
    """Scores a model file, in its engine, on a part of the validation data.

    Attributes:
        samples: The samples.
        metric: Scores the answers.
    """

    samples: Samples
    metric: Metric

    @classmethod
    def of_state(cls, state: CompileState, *, count: int, seed: int) -> FileJudge:
        """A judge on at most `count` of the validation samples, drawn with a seed."""
        return cls(state.samples.subset(count, seed=seed), state.metric)

    def __call__(self, path: Path) -> float:
        """The metric of a file."""
        session = load_engine(engine_of(path)).load(path, threads=THREADS)
        return evaluate_session(session, self.samples, self.metric)
