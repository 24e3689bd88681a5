"""The runs of a sweep, the frontier over them, and the best."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from drupelet_host.errors import RecipeError
from drupelet_host.sweep.compile_run import compile_run
from drupelet_host.sweep.document import BestSection, load_sweep
from drupelet_host.sweep.page import describe_sweep, render_sweep
from drupelet_host.sweep.results import RunResult, VariantResult, find_best, find_frontier, read_result, write_result
from drupelet_host.sweep.runs import Run, plan_runs
from support.model.tiny_project import write_project


def write_sweep(folder: Path, axes: str) -> Path:
    write_project(folder)
    path = folder / "many.toml"
    path.write_text(f'recipe = "recipe.toml"\n\n[axes]\n{axes}\n', encoding="utf-8")
    return path


def result(run: Run, *variants: tuple[str, float, int, float], state: str = "done") -> RunResult:
    return RunResult(
        digest=run.digest,
        state=state,
        metric_name="top1",
        variants=tuple(
            VariantResult(variant=name, metric=metric, size_bytes=size, p50_ms=ms, latency_source="measured here")
            for name, metric, size, ms in variants
        ),
        message="" if state == "done" else "max_size: 20 kB, limit 10 kB",
    )


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Run, ...]:
    return plan_runs(load_sweep(write_sweep(tmp_path, 'seed = [1, 2]\n"constraints.max_size" = ["16KB", "20KB"]')))


def test_every_combination_is_a_run_and_the_last_axis_changes_first(runs: tuple[Run, ...]) -> None:
    assert [run.name for run in runs] == ["run-1", "run-2", "run-3", "run-4"]
    assert [(run.recipe().seed, run.recipe().constraints.max_size) for run in runs] == [
        (1, 16_000),
        (1, 20_000),
        (2, 16_000),
        (2, 20_000),
    ]
    assert runs[1].label == "seed=1, constraints.max_size=20KB"


def test_a_run_writes_to_a_folder_of_its_own(runs: tuple[Run, ...], tmp_path: Path) -> None:
    assert [run.recipe().output.folder for run in runs] == [
        tmp_path / "many/runs" / f"run-{number}" for number in range(1, 5)
    ]


def test_a_table_sets_several_keys_together(tmp_path: Path) -> None:
    axes = 'model = [{ name = "one", version = "1.0.0" }, { name = "two" }]'
    first, second = (run.recipe().model for run in plan_runs(load_sweep(write_sweep(tmp_path, axes))))

    assert (first.name, first.version, first.release) == ("one", "1.0.0", 5)
    assert (second.name, second.version) == ("two", "1.2.0")


def test_a_key_that_recipes_do_not_have_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"run-1 of the sweep has 1 fault:\n  - .*max_sise"):
        plan_runs(load_sweep(write_sweep(tmp_path, '"constraints.max_sise" = ["16KB"]')))


def test_faults_of_a_sweep_are_reported_together(tmp_path: Path) -> None:
    path = tmp_path / "sweep.toml"
    path.write_text('recipe = "recipe.toml"\nfoo = 1\n[axes]\n[best]\nby = "luck"\n', encoding="utf-8")
    with pytest.raises(RecipeError, match="3 faults") as raised:
        load_sweep(path)

    assert all(word in str(raised.value) for word in ("foo", "axes", "best.by"))


def test_a_result_is_used_again_until_the_recipe_or_a_file_changes(runs: tuple[Run, ...], tmp_path: Path) -> None:
    write_result(runs[0], result(runs[0], ("ort-int8", 0.9, 10, 1.0)))
    again = plan_runs(load_sweep(tmp_path / "many.toml"))
    assert read_result(again[0]) == result(runs[0], ("ort-int8", 0.9, 10, 1.0))
    assert read_result(again[1]) is None

    (tmp_path / "data.py").write_text((tmp_path / "data.py").read_text() + "\n", encoding="utf-8")
    changed = plan_runs(load_sweep(tmp_path / "many.toml"))
    assert read_result(changed[0]) is None


def test_the_best_is_chosen_by_the_stated_rule(runs: tuple[Run, ...]) -> None:
    results = [
        (runs[0], result(runs[0], ("a", 0.95, 30, 3.0))),
        (runs[1], result(runs[1], ("a", 0.93, 10, 2.0))),
        (runs[2], result(runs[2], ("a", 0.90, 10, 1.0))),
        (runs[3], result(runs[3], state="not_met")),
    ]

    assert find_best(results, BestSection()) == "run-1"
    assert find_best(results, BestSection(by="size")) == "run-2"
    assert find_best(results, BestSection(by="latency")) == "run-3"
    assert find_best(results, BestSection(by="latency", min_metric=0.92)) == "run-2"
    assert find_best(results, BestSection(min_metric=0.99)) is None


def test_the_frontier_is_over_the_variants_of_all_runs(runs: tuple[Run, ...]) -> None:
    results = [
        (runs[0], result(runs[0], ("small", 0.90, 10, 5.0), ("large", 0.94, 40, 1.0))),
        (runs[1], result(runs[1], ("small", 0.93, 20, 4.0), ("large", 0.94, 50, 2.0))),
    ]

    def front(by: str) -> list[tuple[str, str]]:
        return [(point.run, point.variant.variant) for point in find_frontier(results, by=by)]

    assert front("size") == [("run-1", "small"), ("run-2", "small"), ("run-1", "large")]
    assert front("latency") == [("run-1", "large")]


def test_the_page_and_the_document_have_every_run(runs: tuple[Run, ...], tmp_path: Path) -> None:
    results = [
        (runs[0], result(runs[0], ("small", 0.90, 10, 5.0), ("large", 0.94, 40, 1.0))),
        (runs[1], result(runs[1], state="not_met")),
    ]
    document, page = (
        describe_sweep(results, BestSection()),
        render_sweep(results, BestSection(), folder=tmp_path / "many"),
    )

    assert document["best"] == "run-1"
    assert [run["state"] for run in document["runs"]] == ["done", "not_met"]
    assert "run-1 is best." in page
    assert "a constraint was not met: max_size: 20 kB, limit 10 kB" in page
    assert page.count('<tr class="best">') == 1


@pytest.mark.parametrize(
    ("axes", "fault"),
    [
        ('output = ["x"]', "output is no axis: the sweep sets it"),
        ('"output.folder" = ["x", "y"]', "output.folder is no axis"),
        ('"compute.on" = ["ray", "local"]', "compute.on is no axis"),
        ("seed = [1, 2, 1]", "seed has the value 1 twice"),
        ("seed = []", "axes.seed"),
    ],
)
def test_an_axis_that_would_change_nothing_is_a_fault(tmp_path: Path, axes: str, fault: str) -> None:
    with pytest.raises(RecipeError, match=fault):
        load_sweep(write_sweep(tmp_path, axes))


def test_an_output_of_the_base_recipe_that_is_no_section_is_a_fault_of_it(tmp_path: Path) -> None:
    path = write_sweep(tmp_path, "seed = [1]")
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('output = "x"\n' + recipe.read_text(encoding="utf-8").replace("[output]", "[other]"), "utf-8")
    with pytest.raises(RecipeError, match="output"):
        plan_runs(load_sweep(path))


def test_a_run_whose_folder_cannot_be_made_fails_alone(runs: tuple[Run, ...], tmp_path: Path) -> None:
    (tmp_path / "many").mkdir()
    (tmp_path / "many/runs").write_text("a file", encoding="utf-8")
    failed = compile_run(runs[0])
    assert (failed.state, failed.code) == ("failed", "storage_failed")
    assert str(tmp_path / "many/runs") in failed.message


def test_an_exception_of_one_run_is_its_result(runs: tuple[Run, ...], tmp_path: Path) -> None:
    folder = tmp_path / "many/runs/run-1"
    folder.mkdir(parents=True)
    # A document that no recipe can be read from, as a fault of the program would have it.
    broken = dataclasses.replace(runs[0], document=None)  # type: ignore[arg-type]
    failed = compile_run(broken)
    assert (failed.state, failed.code) == ("failed", "unexpected")
    assert read_result(broken) == failed
