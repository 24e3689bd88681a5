"""A search along several paths at a time."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from drupelet_host.compiler.lineage import digest_module
from drupelet_host.evaluation.cost import count_parameters
from drupelet_host.evaluation.measurement import Measurement
from drupelet_host.pruning.ratio.progressive import PruningResult
from drupelet_host.pruning.search.search import SearchSettings, search_pruning
from drupelet_host.recipe.schema import RecoveryConfig
from drupelet_host.selection.frontier import JudgedCandidate
from drupelet_host.selection.judge import CandidateResult
from drupelet_shared.timing import Timing
from fakes.observer import RecordingObserver
from support.model.tiny_project import trained

INT8 = "int8"


def judge_by_size(*, smallest: int, wanted: int | None):  # noqa: ANN201 - a judge
    """Metric 1 down to a size and less below it, the more the smaller; the excess over a wanted size."""

    def judge(model: nn.Module) -> CandidateResult:
        size = count_parameters(model)
        timing = Timing(p50_ms=1.0, p95_ms=1.0, p99_ms=1.0, runs=1, mean_ms=1.0)
        metric = min(1.0, size / smallest)
        excess = None if wanted is None else max(0.0, 1 - wanted / size)
        return CandidateResult({INT8: Measurement(Path("model.onnx"), size, metric, timing, 1)}, excess)

    return judge


def search(*, beam: int, smallest: int = 1, wanted: int | None = None, epochs: int = 0) -> PruningResult:
    tiny = trained()
    return search_pruning(
        tiny.model,
        tiny.train,
        tiny.evaluate,
        judge_by_size(smallest=smallest, wanted=wanted),
        baseline=1.0,
        curves={},
        settings=SearchSettings(
            variants=((INT8,),),
            max_metric_drop=0.01,
            max_trials=5,
            channel_multiple=4,
            recovery=RecoveryConfig(epochs=epochs),
            beam=beam,
        ),
        observer=RecordingObserver(),
    )


def sizes(candidates: list[JudgedCandidate]) -> list[int]:
    return [candidate.parameters for candidate in candidates]


@pytest.fixture(scope="module")
def original_size() -> int:
    return count_parameters(trained().model)


@pytest.mark.slow
@pytest.mark.parametrize("wanted_share", [None, 0.5, 0.3])
def test_the_first_path_is_the_search_without_a_beam(original_size: int, wanted_share: float | None) -> None:
    wanted = None if wanted_share is None else round(original_size * wanted_share)
    alone = search(beam=1, smallest=original_size // 4, wanted=wanted)
    beam = search(beam=3, smallest=original_size // 4, wanted=wanted)

    first = [candidate for candidate in beam.candidates[1:] if candidate.reason.startswith("path 0: ")]
    assert sizes(first) == sizes(list(alone.candidates[1:]))


@pytest.mark.slow
def test_a_beam_is_at_least_as_good_as_one_path(original_size: int) -> None:
    alone, beam = search(beam=1, smallest=original_size // 3), search(beam=4, smallest=original_size // 3)

    assert beam.metric >= 0.99
    assert count_parameters(beam.model) <= count_parameters(alone.model)


def test_a_limit_on_the_cost_is_met(original_size: int) -> None:
    result = search(beam=2, wanted=original_size // 2)

    assert count_parameters(result.model) <= original_size // 2


@pytest.mark.slow
def test_the_last_candidate_that_counts_as_kept_is_the_result(original_size: int) -> None:
    result = search(beam=4, smallest=original_size // 3)
    kept = [candidate for candidate in result.candidates if candidate.kept]

    assert [candidate.number for candidate in result.candidates] == list(range(len(result.candidates)))
    assert kept[-1].parameters == count_parameters(result.model)
    assert sizes(kept) == sorted(sizes(kept), reverse=True)


@pytest.mark.slow
def test_the_same_beam_gives_the_same_weights(original_size: int) -> None:
    torch.manual_seed(1)
    first = search(beam=2, wanted=original_size // 2, epochs=1)
    torch.manual_seed(2)
    second = search(beam=2, wanted=original_size // 2, epochs=1)

    assert digest_module(first.model) == digest_module(second.model)
