from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from drupelet import compile_recipe
from drupelet_host.compiler.state import CompileState
from drupelet_host.errors import ConstraintError
from drupelet_host.evaluation.scoring import evaluate_session
from drupelet_host.recipe.schema import Recipe, parse_recipe
from drupelet_shared.engines.registry import load_engine
from drupelet_shared.package.reading import unpack_package
from fakes.observer import RecordingObserver
from support.model.tiny_project import RECIPE_SOURCE, validation_samples, write_project

# Well below what the tiny model has before anything is pruned, so that the search has to find something.
MAX_SIZE = "16KB"


def recipe(folder: Path, **sections: dict[str, Any]) -> Recipe:
    document = tomllib.loads(RECIPE_SOURCE)
    document["prune"] = {"recovery": {"epochs": 4}, "max_trials": 4}
    for name, changes in sections.items():
        document[name] = {**document[name], **changes}
    return parse_recipe(document, folder=folder)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_project(tmp_path_factory.mktemp("search")).parent


@pytest.fixture(scope="module")
def searched(project: Path) -> tuple[CompileState, RecordingObserver]:
    observer = RecordingObserver()
    wanted = recipe(project, constraints={"max_size": MAX_SIZE}, data={"train": "data.py:unlabelled"})
    return compile_recipe(wanted, observer=observer), observer


def test_a_size_is_reached_by_search_and_without_labels(searched: tuple[CompileState, RecordingObserver]) -> None:
    state, observer = searched
    best = state.measurements[state.ranking[0]]
    assert state.require_training().train.labels is None
    assert best.size_bytes <= 16_000
    assert best.metric >= state.reference.metric - 0.05
    assert "the search ends: the constraints are met" in observer.decisions
    assert observer.progress[-1][1] <= observer.progress[-1][2]


def test_the_candidate_that_was_chosen_is_the_model_that_ships(
    searched: tuple[CompileState, RecordingObserver], tmp_path: Path
) -> None:
    state, _ = searched
    assert state.package is not None
    assert state.pruning is not None
    package = unpack_package(state.package, tmp_path / "unpacked", trusted_keys=None)
    (variant,) = (variant for variant in package.manifest.variants if variant.id == "ort-static-wi8-ai8")
    judged = state.pruning.candidates[-1].measurements[variant.id]
    session = load_engine(variant.engine).load(package.folder / variant.path, threads=1)
    assert (judged.size_bytes, judged.metric) == (variant.size_bytes, evaluate_session(session, validation_samples()))


def test_every_candidate_is_in_the_report(searched: tuple[CompileState, RecordingObserver]) -> None:
    state, _ = searched
    assert state.package is not None
    assert state.pruning is not None
    beside = state.package.with_name("tiny-1.2.0.report")
    report = json.loads(beside.with_suffix(".report.json").read_text(encoding="utf-8"))
    page = beside.with_suffix(".report.html").read_text(encoding="utf-8")
    rows = report["frontier"]
    assert {row["candidate"] for row in rows} == {candidate.number for candidate in state.pruning.candidates}
    assert {row["variant"] for row in rows} == {"ort-fp32", "ort-static-wi8-ai8"}
    assert report["is_modelled"]
    packed = {row["name"]: row["modelled"]["p50_ms"] for row in report["variants"]}
    last = max(row["candidate"] for row in rows if row["kept"])
    assert {row["p50_ms"] == packed[row["variant"]] for row in rows if row["candidate"] == last} == {True}
    assert all(row["reason"] in page for row in rows)
    assert page.count('<g class="dot') == 2 * len(rows) > 4


def test_a_search_that_fails_returns_its_frontier_and_writes_nothing(project: Path, tmp_path: Path) -> None:
    wanted = recipe(
        project,
        constraints={"max_size": "2KB"},
        prune={"max_trials": 1},
        output={"folder": str(tmp_path / "out")},
    )
    with pytest.raises(ConstraintError, match=r"2 candidates were judged, the best: candidate \d as ort") as raised:
        compile_recipe(wanted)
    assert [candidate.number for candidate in raised.value.frontier] == [0, 1]
    assert not (tmp_path / "out").exists()
