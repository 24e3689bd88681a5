from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from support.model.tiny_project import RECIPE_SOURCE, write_project


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "drupelet_host", "compile", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_project(tmp_path_factory.mktemp("command"))


def test_compile_prints_json_alone_on_standard_output_and_writes_the_package(recipe: Path, tmp_path: Path) -> None:
    done = run(recipe, "--output", tmp_path / "out", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert Path(result["package"]) == (tmp_path / "out" / "tiny-1.2.0.drupe").resolve()
    assert Path(result["package"]).is_file()
    assert set(result["models"]) == {"original", *result["ranking"]}
    assert "kept" in done.stderr


def test_the_last_lines_say_where_the_report_is_and_what_to_type_next(recipe: Path, tmp_path: Path) -> None:
    done = run(recipe, "--output", tmp_path / "out", "--quiet")
    assert done.returncode == 0, done.stderr
    report, following = done.stdout.splitlines()[-2:]
    assert Path(report.removeprefix("report: ")).read_text().startswith("<!doctype html>")
    package = (tmp_path / "out" / "tiny-1.2.0.drupe").resolve()
    assert following == f"next: drupelet sign {package} --key maker.key"


def test_a_missed_constraint_ends_with_status_three_and_the_best_value(recipe: Path, tmp_path: Path) -> None:
    strict = recipe.with_name("strict.toml")
    strict.write_text(RECIPE_SOURCE.replace("[constraints]", "[constraints]\nmax_size = 500"), encoding="utf-8")
    done = run(strict, "--output", tmp_path / "out", "--quiet")
    assert done.returncode == 3
    assert done.stderr.startswith("error: no variant meets all constraints")
    assert "max_size         500 B (500 bytes)" in done.stderr
    assert done.stderr.rstrip().endswith("[constraint_not_met]")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_recipe_with_faults_ends_with_status_one_and_all_of_them(recipe: Path) -> None:
    faulty = recipe.with_name("faulty.toml")
    faulty.write_text(
        RECIPE_SOURCE.replace("seed = 3", "sed = 3").replace("release = 5", "release = 0"), encoding="utf-8"
    )
    done = run(faulty)
    assert done.returncode == 1
    assert "sed: unknown key; did you mean 'seed'?" in done.stderr
    assert "model.release = 0" in done.stderr
    assert "Traceback" not in done.stderr
