"""A limit on the latency holds: the search goes on when the last measurement disagrees, and no miss is cached."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path

import pytest

from drupelet_host.compiler.compile import compile_recipe
from drupelet_host.errors import ConstraintError, LatencyError, RecipeError
from drupelet_host.latency.machine import WORKSTATION
from drupelet_host.latency.modelled.table import load_table
from drupelet_host.latency.source import DEFAULT_PRECISION, LatencyEstimate, Percentile
from drupelet_host.packaging.builder import report_path
from drupelet_host.recipe.schema import Recipe, parse_recipe
from drupelet_host.selection.variants import NCNN_STATIC, STATIC
from drupelet_shared.engines.base import Tensors
from drupelet_shared.engines.files import model_size_bytes
from drupelet_shared.package.reading import unpack_package
from drupelet_shared.timing import Interval
from fakes.observer import RecordingObserver
from support.model.tiny_project import RECIPE_SOURCE, write_project

LABEL = "modelled by size"


class SizeSource:
    """A source by which a kilobyte takes a millisecond; the last measurement of a compile may be told another factor.

    Attributes:
        last: The factor on what is measured beside `original.<engine>`, as the last pass does.
        int8: The factor on models in static int8.
        ncnn: The factor on models for ncnn.
        fails: Whether it has no numbers at all.
    """

    is_quick = False
    label = LABEL
    fingerprint = LABEL

    def __init__(self, *, last: float = 1.0, int8: float = 1.0, ncnn: float = 1.0) -> None:
        self.last = last
        self.int8 = int8
        self.ncnn = ncnn
        self.fails = False

    def measure(
        self,
        models: Mapping[str, Path],
        *,
        feed: Tensors,
        references: Collection[str] = (),
        precision: float = DEFAULT_PRECISION,
        percentile: Percentile = "p50",
    ) -> dict[str, LatencyEstimate]:
        assert feed
        assert percentile == "p50"
        assert set(references) < set(models)
        if self.fails:
            raise LatencyError("the board is gone")
        factor = self.last if any(name.startswith("original.") for name in references) else 1.0
        times_ms = {
            name: factor
            * (self.int8 if name == STATIC else 1.0)
            * (self.ncnn if path.suffix == ".param" else 1.0)
            * (model_size_bytes(path) / 1000)
            for name, path in models.items()
        }
        return {
            name: LatencyEstimate(
                p50_ms=time_ms,
                interval=Interval(time_ms * (1 - precision), time_ms * (1 + precision)),
                source=LABEL,
            )
            for name, time_ms in times_ms.items()
        }


def recipe(folder: Path, limit: object, **prune: object) -> Recipe:
    document = tomllib.loads(RECIPE_SOURCE)
    document["prune"] = {"recovery": {"epochs": 4}, "max_trials": 8, **prune}
    document["constraints"] = {"max_metric_drop": 0.1, "max_latency": limit}
    document["quantize"] = {**document["quantize"], "variants": ["static"]}
    return parse_recipe(document, folder=folder)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_project(tmp_path_factory.mktemp("latency")).parent


def test_a_latency_in_milliseconds_is_reached_with_a_margin_by_the_source_that_was_given(project: Path) -> None:
    observer = RecordingObserver()
    state = compile_recipe(recipe(project, "16 ms"), observer=observer, latency_source=SizeSource())
    best = state.measurements[state.ranking[0]]
    assert best.target_latency.source == LABEL
    assert best.target_latency.interval.high_ms <= 16.0
    assert any(decision.endswith(f"limit 16 ms: {LABEL}") for decision in observer.decisions)


def test_the_search_goes_on_when_the_last_measurement_disagrees(project: Path) -> None:
    observer = RecordingObserver()
    state = compile_recipe(recipe(project, "16 ms"), observer=observer, latency_source=SizeSource(last=1.25))
    best = state.measurements[state.ranking[0]]
    assert best.target_latency.interval.high_ms <= 16.0
    went_on = [place for place, decision in enumerate(observer.decisions) if "goes on from where it was" in decision]
    assert went_on
    assert state.pruning is not None
    numbers = [candidate.number for candidate in state.pruning.candidates]
    assert numbers == list(range(len(numbers)))
    assert [record.name for record in state.lineage].count("prune") == 1


def test_a_time_is_enough_in_one_engine_and_the_slower_one_is_left_out(project: Path) -> None:
    wanted = recipe(project, "16 ms")
    for_both = wanted.model_copy(
        update={"export": wanted.export.model_copy(update={"engines": ("onnxruntime", "ncnn")})}
    )
    observer = RecordingObserver()
    state = compile_recipe(for_both, observer=observer, latency_source=SizeSource(ncnn=50.0))
    assert {state.measurements[name].path.suffix for name in state.ranking} == {".onnx"}
    assert "no variant for ncnn is within the limits: it is left out, and devices run onnxruntime" in observer.decisions
    assert "the search ends: the constraints are met" in observer.decisions
    assert NCNN_STATIC in state.dropped


def test_the_variant_that_the_recipe_names_meets_the_limit_where_float_meets_it_at_once(project: Path) -> None:
    state = compile_recipe(recipe(project, "80 ms"), latency_source=SizeSource(int8=6.0))
    assert STATIC in state.ranking
    assert state.measurements[STATIC].target_latency.interval.high_ms <= 80.0
    assert state.pruning is not None
    first = state.pruning.candidates[0].measurements
    assert first[STATIC].target_latency.interval.low_ms > 80.0


def test_the_failure_of_the_variant_that_the_recipe_names_is_a_table_with_limits_that_can_be_met(project: Path) -> None:
    with pytest.raises(ConstraintError, match="none of them is left") as caught:
        compile_recipe(recipe(project, "80 ms", max_trials=1), latency_source=SizeSource(int8=1000.0))
    assert "limits that" in str(caught.value)
    assert len(caught.value.frontier) > 1


def test_a_missed_latency_is_measured_again_by_the_next_compile(project: Path, tmp_path: Path) -> None:
    source, cache = SizeSource(last=3.0), tmp_path / "cache"
    wanted = recipe(project, "20 ms", max_trials=2)
    with pytest.raises(ConstraintError, match="limits that") as caught:
        compile_recipe(wanted, latency_source=source, cache=cache)
    assert 'max_latency = "' in str(caught.value)
    source.last = 0.5
    state = compile_recipe(wanted, latency_source=source, cache=cache)
    assert state.package is not None


def test_a_source_that_fails_ends_the_compile_and_leaves_nothing_of_it_in_the_cache(
    project: Path, tmp_path: Path
) -> None:
    source, cache = SizeSource(), tmp_path / "cache"
    source.fails = True
    with pytest.raises(LatencyError, match="the board is gone"):
        compile_recipe(recipe(project, "16 ms"), latency_source=source, cache=cache)
    source.fails = False
    assert compile_recipe(recipe(project, "16 ms"), latency_source=source, cache=cache).package is not None


def test_without_a_board_the_model_of_the_target_s_processor_decides_with_its_whole_range(
    project: Path, tmp_path: Path
) -> None:
    observer = RecordingObserver()
    wanted = recipe(project, "0.32 ms")
    state = compile_recipe(wanted, observer=observer)
    assert state.pruning is not None
    first, best = state.pruning.candidates[0], state.measurements[state.ranking[0]]
    assert min(found.target_latency.interval.high_ms for found in first.measurements.values()) > 0.32
    latency = best.target_latency
    assert latency.interval.high_ms <= 0.32
    assert re.fullmatch(r"modelled for raspberry_pi_4, one thread, \+-\d+%", latency.source)
    assert any(decision.endswith(f"limit 0.32 ms: {latency.source}") for decision in observer.decisions)
    # What was measured, and what the package states as measured, is this machine's.
    assert best.measured_latency.source == WORKSTATION
    table = load_table("raspberry_pi_4")
    assert table is not None
    parameters = {record.name: record.parameters for record in state.lineage}
    assert parameters["prune"]["latency_table"] == parameters["evaluate_variants"]["latency_table"] == table.label
    assert parameters["evaluate_variants"]["latency_source"] == f"modelled for {table.label}"
    assert state.package is not None
    package = unpack_package(state.package, tmp_path / "package", trusted_keys=None)
    assert all("modelled" not in variant.latency.machine for variant in package.manifest.variants)
    report = json.loads(report_path(state.package, ".json").read_text(encoding="utf-8"))
    row = next(row for row in report["variants"] if row["name"] == state.ranking[0])
    assert row["modelled"]["p50_ms"] == latency.p50_ms
    assert row["latency_source"] == WORKSTATION
    assert report["is_modelled"]


def test_a_model_of_a_processor_has_no_99th_percentile(project: Path) -> None:
    with pytest.raises(RecipeError, match="has medians only; limit the median, name boards"):
        compile_recipe(recipe(project, "1 ms p99"))


def test_a_limit_on_the_99th_percentile_needs_a_source_that_measures_it(project: Path) -> None:
    class MedianSource(SizeSource):
        def measure(
            self,
            models: Mapping[str, Path],
            *,
            feed: Tensors,
            references: Collection[str] = (),
            precision: float = DEFAULT_PRECISION,
            percentile: Percentile = "p50",
        ) -> dict[str, LatencyEstimate]:
            assert percentile == "p99"
            return super().measure(models, feed=feed, references=references, precision=precision)

    with pytest.raises(LatencyError, match="has only medians"):
        compile_recipe(recipe(project, "16 ms p99"), latency_source=MedianSource())
