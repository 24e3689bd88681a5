"""`drupelet sweep`: several recipes as one job, resumed, with one report."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from drupelet_shared.package.reading import unpack_package
from support.model.tiny_project import write_project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SWEEP = """
recipe = "recipe.toml"

[axes]
"prune.prune_ratio" = [0.25, 0.5]
"constraints.max_size" = ["40KB", "1KB"]

[best]
by = "size"
"""


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "drupelet_host", "sweep", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep")
    write_project(folder)
    (folder / "sizes.toml").write_text(SWEEP, encoding="utf-8")
    return folder / "sizes.toml"


@pytest.fixture(scope="module")
def first(sweep: Path) -> subprocess.CompletedProcess[str]:
    return run(sweep, "--on", "local:2", "--json")


def test_the_plan_lists_the_runs_and_compiles_nothing(tmp_path: Path) -> None:
    write_project(tmp_path)
    (tmp_path / "sizes.toml").write_text(SWEEP, encoding="utf-8")
    done = run(tmp_path / "sizes.toml", "--plan")

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1] == "run-2  prune.prune_ratio=0.25, constraints.max_size=1KB"
    assert not (tmp_path / "sizes").exists()


def test_a_sweep_compiles_every_run_and_names_the_best(
    first: subprocess.CompletedProcess[str], sweep: Path, tmp_path: Path
) -> None:
    assert first.returncode == 0, first.stderr
    report = json.loads(first.stdout)

    assert [one["state"] for one in report["runs"]] == ["done", "not_met", "done", "not_met"]
    assert report["best"] == "run-3"
    assert report["resumed"] == 0
    sizes = [one["variants"][0]["size_bytes"] for one in report["runs"] if one["variants"]]
    assert sizes[1] < sizes[0]
    package = unpack_package(Path(report["runs"][2]["package"]), tmp_path / "unpacked", trusted_keys=None)
    assert package.manifest.name == "tiny"
    # Of four runs two and two have the same passes, and all of them the first ones: none is made again.
    assert len(list((sweep.parent / "sizes/runs/cache").glob("*/state.pickle"))) < 2 * len(package.manifest.lineage)
    assert report["frontier"]["size"][0]["run"] == "run-3"
    page = (sweep.parent / "sizes/sweep.html").read_text(encoding="utf-8")
    assert "run-3 is best." in page
    assert 'href="runs/run-3/tiny-1.2.0.report.html"' in page
    assert (sweep.parent / "sizes/runs/run-3/tiny-1.2.0.report.html").is_file()


def test_a_second_sweep_uses_what_is_done(first: subprocess.CompletedProcess[str], sweep: Path) -> None:
    before = {run["name"]: run for run in json.loads(first.stdout)["runs"]}
    (sweep.parent / "sizes/runs/run-1/result.json").unlink()
    again = json.loads(run(sweep, "--on", "local:1", "--json").stdout)

    assert again["resumed"] == 3
    after = {run["name"]: run for run in again["runs"]}
    assert after["run-3"] == before["run-3"]
    assert [one["metric"] for one in after["run-1"]["variants"]] == [
        one["metric"] for one in before["run-1"]["variants"]
    ]


def test_a_sweep_without_a_run_that_meets_its_constraints_ends_with_status_three(tmp_path: Path) -> None:
    write_project(tmp_path)
    path = tmp_path / "hopeless.toml"
    path.write_text('recipe = "recipe.toml"\n[axes]\n"constraints.max_size" = ["1KB"]\n', encoding="utf-8")
    done = run(path, "--quiet", "--on", "local:1")

    assert done.returncode == 3, done.stderr
    assert "none of 1 runs meets the constraints of its recipe" in done.stderr
