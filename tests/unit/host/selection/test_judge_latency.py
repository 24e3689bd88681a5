"""When a judge asks for the latency on the target, and with which sample: over a source that counts the questions."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import pytest

from drupelet_host.data.samples import Samples
from drupelet_host.evaluation.measurement import Measurement
from drupelet_host.evaluation.metrics import TOP1
from drupelet_host.latency.source import DEFAULT_PRECISION, LatencyAnswers, LatencyEstimate, Percentile
from drupelet_host.recipe.schema import Constraints
from drupelet_host.selection.judge import CandidateJudge
from drupelet_shared.engines.base import Tensors
from drupelet_shared.timing import Interval, Timing
from support.model.onnx_models import write_add_model

FEEDS = [{"input": np.full((1, 1), value, np.float32)} for value in (3.0, 4.0, 5.0)]


class Source:
    """Answers with 1 ms, and keeps what it was asked for."""

    label = "measured on pi-7"
    fingerprint = label

    def __init__(self, *, is_quick: bool) -> None:
        self.is_quick = is_quick
        self.asked: list[tuple[set[str], Tensors, Percentile]] = []

    def measure(
        self,
        models: Mapping[str, Path],
        *,
        feed: Tensors,
        references: Collection[str] = (),
        precision: float = DEFAULT_PRECISION,
        percentile: Percentile = "p50",
    ) -> LatencyAnswers:
        del references, precision
        self.asked.append((set(models), feed, percentile))
        return {
            name: LatencyEstimate(p50_ms=1.0, interval=Interval(1.0, 1.0), source=self.label, p99_ms=1.0)
            for name in models
        }


def ask(folder: Path, source: Source, **limits: object) -> None:
    model = write_add_model(folder / "original.onnx")
    timing = Timing(p50_ms=1.0, p95_ms=1.0, p99_ms=1.0, runs=1, mean_ms=1.0)
    judge = CandidateJudge(
        originals={"onnxruntime": model},
        references={"onnxruntime": Measurement(model, 100, 1.0, timing, 1)},
        constraints=Constraints.model_validate(limits),
        samples=Samples(FEEDS, labels=np.zeros(3, np.int64)),
        latency_source=source,
        metric=TOP1,
        calibration=Samples(FEEDS),
        method="minmax",
        example=(1, 1),
        output_names=("output",),
    )
    judge._measure({"ort-fp32": write_add_model(folder / "candidate.onnx")}, {})


@pytest.mark.parametrize(
    ("is_quick", "limits", "asked"),
    [
        (False, {}, []),
        (True, {}, [{"ort-fp32"}]),
        (False, {"max_latency": "5 ms p99"}, [{"ort-fp32", "onnxruntime"}]),
        (True, {"max_latency": 0.5}, [{"ort-fp32", "onnxruntime"}]),
    ],
)
def test_a_source_that_measures_is_asked_only_where_a_limit_needs_it(
    tmp_path: Path, *, is_quick: bool, limits: dict[str, object], asked: list[set[str]]
) -> None:
    source = Source(is_quick=is_quick)
    ask(tmp_path, source, **limits)
    assert [names for names, _, _ in source.asked] == asked
    assert all(feed is FEEDS[0] for _, feed, _ in source.asked)
    assert all(percentile == ("p99" if "p99" in str(limits) else "p50") for _, _, percentile in source.asked)
