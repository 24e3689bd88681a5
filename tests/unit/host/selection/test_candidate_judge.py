"""A candidate is exported, quantized and measured in every engine that has an original."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path

import pytest

from drupelet_host.data.samples import Samples
from drupelet_host.errors import ExportError
from drupelet_host.evaluation.measure import measure_models
from drupelet_host.evaluation.measurement import Measurement
from drupelet_host.evaluation.metrics import TOP1
from drupelet_host.export.ncnn import export_ncnn
from drupelet_host.export.onnx import export_onnx
from drupelet_host.latency.workstation import BRIEF, WorkstationSource
from drupelet_host.recipe.schema import Constraints
from drupelet_host.selection.judge import CandidateJudge, CandidateResult
from drupelet_host.selection.variants import FLOAT, NCNN_FLOAT, NCNN_STATIC, STATIC
from drupelet_shared.package.manifest import EngineName
from support.model.tiny_project import INPUT_SHAPE, calibration_feeds, trained, validation_samples

pytestmark = pytest.mark.slow

ORT: EngineName = "onnxruntime"
NCNN: EngineName = "ncnn"
LITERT: EngineName = "litert"


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[EngineName, Path]:
    folder = tmp_path_factory.mktemp("originals")
    paths: dict[EngineName, Path] = {ORT: folder / "original.onnx", NCNN: folder / "original.param"}
    export_onnx(trained().model, INPUT_SHAPE, paths[ORT])
    export_ncnn(trained().model, INPUT_SHAPE, paths[NCNN])
    return paths


@pytest.fixture(scope="module")
def references(originals: dict[EngineName, Path]) -> dict[str, Measurement]:
    return measure_models(originals, validation_samples(), TOP1, budget=BRIEF, memory=False)


def judge(
    originals: Mapping[EngineName, Path],
    references: Mapping[str, Measurement],
    *engines: EngineName,
    asked: frozenset[str] = frozenset(),
    **limits: float,
) -> CandidateResult:
    judged = CandidateJudge(
        originals={engine: originals[engine] for engine in engines},
        references={engine: references[engine] for engine in engines},
        constraints=Constraints.model_validate(limits),
        samples=validation_samples(),
        latency_source=WorkstationSource(),
        metric=TOP1,
        calibration=Samples(calibration_feeds(16)),
        method="minmax",
        example=INPUT_SHAPE,
        output_names=("output",),
        asked=asked,
    )
    return judged(trained().model)


@pytest.fixture(scope="module")
def result(originals: dict[EngineName, Path], references: dict[str, Measurement]) -> CandidateResult:
    return judge(originals, references, ORT, NCNN, max_size=1)


def test_a_candidate_is_measured_in_float_and_int8_in_each_engine(result: CandidateResult) -> None:
    measured = result.measurements

    assert {name: each.path.name for name, each in measured.items()} == {
        FLOAT: f"{FLOAT}.onnx",
        STATIC: f"{STATIC}.onnx",
        NCNN_FLOAT: f"{NCNN_FLOAT}.param",
        NCNN_STATIC: f"{NCNN_STATIC}.param",
    }
    assert measured[FLOAT].metric == measured[NCNN_FLOAT].metric == trained().evaluate(trained().model)
    assert measured[STATIC].size_bytes < measured[FLOAT].size_bytes
    assert measured[NCNN_STATIC].size_bytes < measured[NCNN_FLOAT].size_bytes


def test_the_metric_of_several_variants_is_the_lowest(result: CandidateResult) -> None:
    metrics = [result.measurements[name].metric for name in (FLOAT, NCNN_STATIC)]

    assert result.metric((FLOAT, NCNN_STATIC)) == min(metrics)


def test_the_excess_is_that_of_the_engine_whose_smallest_file_is_the_largest(result: CandidateResult) -> None:
    smaller, larger = sorted(result.measurements[name].size_bytes for name in (STATIC, NCNN_STATIC))

    assert smaller < larger
    assert result.excess == pytest.approx(1 - 1 / larger, rel=1e-9)


def test_the_excess_of_memory_is_that_of_the_engine_that_needs_least(
    originals: dict[EngineName, Path], references: dict[str, Measurement]
) -> None:
    limit = 1_000_000
    constrained = judge(originals, references, ORT, NCNN, memory_limit=limit)
    memory = [each.peak_memory_bytes for each in constrained.measurements.values()]
    assert constrained.excess == pytest.approx(1 - limit / min(value for value in memory if value), rel=1e-9)


def test_memory_is_measured_only_where_it_is_constrained(result: CandidateResult) -> None:
    assert {each.peak_memory_bytes for each in result.measurements.values()} == {None}


def test_latency_and_memory_are_measured_beside_the_original(
    originals: dict[EngineName, Path], references: dict[str, Measurement]
) -> None:
    constrained = judge(originals, references, ORT, max_latency=1000.0, memory_limit=1)
    memory = [each.peak_memory_bytes for each in constrained.measurements.values()]

    assert set(constrained.measurements) == {FLOAT, STATIC}
    assert constrained.excess == pytest.approx(1 - 1 / min(value for value in memory if value), rel=1e-9)


def test_only_the_variants_that_the_recipe_names_decide_where_they_keep_the_metric(
    originals: dict[EngineName, Path], references: dict[str, Measurement], result: CandidateResult
) -> None:
    sizes = {name: each.size_bytes for name, each in result.measurements.items()}
    # Int8 alone would meet the limit.
    limit = (sizes[STATIC] + sizes[FLOAT]) // 2
    named = judge(originals, references, ORT, asked=frozenset({FLOAT}), max_size=limit, max_metric_drop=0.5)
    assert set(named.measurements) == {FLOAT}
    assert named.excess == pytest.approx(1 - limit / sizes[FLOAT], rel=1e-9)
    # Nothing keeps more than the whole metric.
    failing = judge(originals, references, ORT, asked=frozenset({STATIC}), max_metric_drop=-0.5)
    assert set(failing.measurements) == {FLOAT, STATIC}


@pytest.mark.skipif(importlib.util.find_spec("litert_torch") is not None, reason="LiteRT's converter is installed")
def test_an_engine_whose_converter_is_missing_is_an_error_that_names_the_file(
    originals: dict[EngineName, Path], references: dict[str, Measurement]
) -> None:
    with pytest.raises(ExportError, match=r"litert-fp32\.tflite"):
        judge({LITERT: originals[ORT]}, {LITERT: references[ORT]}, LITERT)
