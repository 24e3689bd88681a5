"""Which samples choose, and which prove."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drupelet import compile_recipe
from drupelet_host.compiler.passes.constraints import ConstraintsPass
from drupelet_host.compiler.start import start_compile
from drupelet_host.compiler.state import CompileState
from drupelet_host.data.samples import Samples
from drupelet_host.errors import ConstraintError, DataError
from drupelet_host.evaluation.measurement import Measurement
from drupelet_host.evaluation.scoring import evaluate_session
from drupelet_host.recipe.schema import Constraints, Recipe, parse_recipe
from drupelet_shared.engines.registry import load_engine
from drupelet_shared.timing import Timing
from fakes.observer import RecordingObserver
from support.model.tiny_project import RECIPE_SOURCE, start_state, trained, validation_samples, write_project


def recipe(folder: Path, **data: object) -> Recipe:
    document: dict[str, Any] = tomllib.loads(RECIPE_SOURCE)
    document["data"] |= data
    document["quantize"] |= {"method": "minmax", "variants": ["static"]}
    return parse_recipe(document, folder=folder)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_project(tmp_path_factory.mktemp("project")).parent


def images(samples: Samples) -> np.ndarray:
    return np.concatenate([feed["input"] for feed in samples.feeds])


def test_the_result_is_measured_on_the_test_samples(project: Path, tmp_path: Path) -> None:
    state = compile_recipe(recipe(project, test="data.py:test"), cache=tmp_path / "cache")
    assert state.test is not None
    assert (len(state.samples), len(state.test)) == (160, 120)
    for name, path in {"original": state.originals["onnxruntime"], **state.artifacts}.items():
        measured = state.reference if name == "original" else state.measurements[name]
        session = load_engine("onnxruntime").load(path, threads=1)
        assert measured.metric == evaluate_session(session, state.test), name
    assert state.package is not None
    report = json.loads(state.package.with_name("tiny-1.2.0.report.json").read_text(encoding="utf-8"))
    page = state.package.with_name("tiny-1.2.0.report.html").read_text(encoding="utf-8")
    assert (report["samples"], report["selection"]["samples"], report["notes"]) == (120, 160, [])
    assert "120 test samples that no decision was based on" in page


def test_held_out_samples_are_a_share_of_the_validation_data_and_never_choose(project: Path, tmp_path: Path) -> None:
    started = [start_compile(recipe(project, hold_out=0.25), tmp_path) for _ in range(2)]
    for state in started:
        assert state.test is not None
        together = np.concatenate([images(state.samples), images(state.test)])
        assert (len(state.samples), len(state.test)) == (120, 40)
        assert len(state.require_training().validation) == 120
        assert sorted(map(bytes, together)) == sorted(map(bytes, images(validation_samples())))
    assert np.array_equal(images(started[0].samples), images(started[1].samples))


@pytest.mark.parametrize("share", [0.001, 0.999])
def test_a_share_that_leaves_no_samples_is_refused(project: Path, tmp_path: Path, share: float) -> None:
    with pytest.raises(DataError, match=f"has 160 samples: data.hold_out = {share} leaves a part without any"):
        start_compile(recipe(project, hold_out=share), tmp_path)


def test_test_samples_need_labels_where_the_validation_samples_have_them(project: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="test data: has no labels"):
        start_compile(recipe(project, test="data.py:no_labels"), tmp_path)


def started(tmp_path: Path, *, test: Samples | None) -> CompileState:
    state = start_state(tmp_path, trained().model, train=trained().train, validation=trained().validation)
    return replace(state, test=test)


def test_choices_keep_a_margin_where_other_samples_prove(tmp_path: Path) -> None:
    alone, proved = (started(tmp_path, test=test) for test in (None, validation_samples()))
    assert alone.narrow_drop(0.4) == 0.4
    # One standard error of a share of 0.4 that is lost among 160 samples.
    assert proved.narrow_drop(0.4) == pytest.approx(0.4 - 0.05)
    assert proved.narrow_drop(0.01) == pytest.approx(0.005)
    assert proved.narrow_drop(0.0) == 0.0


def test_a_constraint_that_only_the_test_samples_break_fails_the_compile(tmp_path: Path) -> None:
    path, timing = tmp_path / "model.onnx", Timing(p50_ms=1.0, p95_ms=1.0, p99_ms=1.0, runs=1, mean_ms=1.0)
    state = replace(
        started(tmp_path, test=validation_samples()),
        references={"onnxruntime": Measurement(path, 100, 0.9, timing, None)},
        measurements={"ort-fp32": Measurement(path, 50, 0.85, timing, None)},
    )
    with pytest.raises(ConstraintError, match=r"on the 160 test samples"):
        ConstraintsPass(Constraints(max_metric_drop=0.01)).run(state, observer=RecordingObserver())
