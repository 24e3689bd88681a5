from __future__ import annotations

from pathlib import Path

from drupelet_host.evaluation.measurement import Measurement
from drupelet_host.selection.frontier import JudgedCandidate, best_points, describe_frontier
from drupelet_shared.timing import Timing

INT8 = "int8"
TIMING = Timing(p50_ms=1.25, p95_ms=2.0, p99_ms=2.0, runs=1, mean_ms=1.0)


def candidate(number: int, metric: float, size_bytes: int) -> JudgedCandidate:
    measured = {INT8: Measurement(Path("model.onnx"), size_bytes, metric, TIMING, None)}
    return JudgedCandidate(number=number, measurements=measured, parameters=1, macs=1, kept=True, reason="")


def test_the_best_points_are_those_that_no_other_beats() -> None:
    candidates = [candidate(0, 0.99, 400), candidate(1, 0.97, 300), candidate(2, 0.98, 200)]

    assert [(point.candidate, point.variant) for point in best_points(candidates)] == [(2, INT8), (0, INT8)]


def test_every_variant_of_a_candidate_is_a_point() -> None:
    single = candidate(0, 0.9, 100)
    both = {**single.measurements, "float": candidate(0, 0.95, 400).measurements[INT8]}
    candidates = [JudgedCandidate(number=3, measurements=both, parameters=1, macs=1, kept=False, reason="")]

    assert [(point.candidate, point.variant) for point in best_points(candidates)] == [(3, INT8), (3, "float")]


def test_the_frontier_in_a_message_has_metric_size_and_time_of_its_best_points() -> None:
    text = describe_frontier([candidate(0, 0.99, 4000), candidate(1, 0.97, 2000)])

    assert text == (
        "2 candidates were judged, the best: candidate 1 as int8: metric 0.9700, 2.0 KB, p50 1.25 ms here;"
        " candidate 0 as int8: metric 0.9900, 4.0 KB, p50 1.25 ms here"
    )


def test_a_long_frontier_is_shortened_to_its_four_smallest_points() -> None:
    text = describe_frontier([candidate(number, 0.9 + number / 100, 1000 + number) for number in range(6)])

    assert [f"candidate {number} as" in text for number in range(6)] == [True] * 4 + [False] * 2
