"""A candidate that misses the limit narrowly is recovered once more, one that misses it clearly is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

from drupelet_host.evaluation.measurement import Measurement
from drupelet_host.pruning.search.search import SearchSettings, search_pruning
from drupelet_host.recipe.schema import RecoveryConfig
from drupelet_host.selection.judge import CandidateResult
from drupelet_shared.timing import Timing
from fakes.observer import RecordingObserver
from support.model.tiny_project import trained

TIMING = Timing(p50_ms=1.0, p95_ms=1.0, p99_ms=1.0, runs=1, mean_ms=1.0)


def judged(metrics: list[float]) -> tuple[list[str], list[float]]:
    """What the search decides where the candidates have these metrics, one after the other."""
    observer, left = RecordingObserver(), [1.0, *metrics]

    def judge(_: nn.Module) -> CandidateResult:
        metric = left.pop(0)
        return CandidateResult({"int8": Measurement(Path("model.onnx"), 1000, metric, TIMING, 1)}, 0.5)

    tiny = trained()
    result = search_pruning(
        tiny.model,
        tiny.train,
        tiny.evaluate,
        judge,
        baseline=1.0,
        curves={},
        settings=SearchSettings(
            variants=(("int8",),),
            max_metric_drop=0.1,
            max_trials=1,
            channel_multiple=4,
            recovery=RecoveryConfig(epochs=1),
        ),
        observer=observer,
    )
    return observer.decisions, [candidate.measurements["int8"].metric for candidate in result.candidates]


@pytest.mark.parametrize("metric", [0.899, 0.85])
def test_a_narrow_miss_is_recovered_once_more(metric: float) -> None:
    decisions, metrics = judged([metric, 0.95])
    assert any("misses narrowly" in decision for decision in decisions)
    assert metrics == [1.0, 0.95]


@pytest.mark.parametrize("metric", [0.849, 0.2])
def test_a_clear_miss_is_not(metric: float) -> None:
    decisions, metrics = judged([metric])
    assert not any("misses narrowly" in decision for decision in decisions)
    assert metrics == [1.0, metric]


def test_a_candidate_within_the_limit_is_not() -> None:
    decisions, metrics = judged([0.9])
    assert not any("misses narrowly" in decision for decision in decisions)
    assert metrics == [1.0, 0.9]
