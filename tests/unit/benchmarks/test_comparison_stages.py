from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks.child import BenchmarkError
from benchmarks.comparison.stages import Stage, forget_stage, run_stage

COUNT_RUNS = """
import json, pathlib, sys
report = pathlib.Path(sys.argv[1])
kept = report.with_name("kept-1.txt")
runs = int(kept.read_text()) + 1 if kept.exists() else 1
kept.write_text(str(runs))
if runs < int(sys.argv[2]):
    sys.exit(7)
report.write_text(json.dumps({"runs": runs}))
"""


def stage(work: Path, *, succeeds_in_run: int = 1) -> Stage:
    report = work / "report.json"
    command = (sys.executable, "-c", COUNT_RUNS, str(report), str(succeeds_in_run))
    return Stage("counted", (command,), report, forget=("kept-*.txt",))


def run(work: Path, made: Stage) -> dict[str, int]:
    results = work / "results"
    run_stage(made, work=work, results=results, say=lambda _: None)
    report: dict[str, int] = json.loads((results / "counted.json").read_text(encoding="utf-8"))
    return report


def test_a_stage_leaves_its_report_among_the_results(tmp_path: Path) -> None:
    assert run(tmp_path, stage(tmp_path)) == {"runs": 1}


def test_a_stage_that_is_done_does_not_run_again(tmp_path: Path) -> None:
    run(tmp_path, stage(tmp_path))
    assert run(tmp_path, stage(tmp_path)) == {"runs": 1}


def test_a_stage_that_failed_leaves_no_result_and_goes_on_in_the_next_run(tmp_path: Path) -> None:
    made = stage(tmp_path, succeeds_in_run=2)
    with pytest.raises(BenchmarkError, match="counted: ended with status 7"):
        run(tmp_path, made)
    assert not (tmp_path / "results").exists()
    assert run(tmp_path, made) == {"runs": 2}


def test_a_stage_that_leaves_no_report_has_failed(tmp_path: Path) -> None:
    made = Stage("counted", ((sys.executable, "-c", "pass"),), tmp_path / "report.json")
    made.report.write_text("{}", encoding="utf-8")
    with pytest.raises(BenchmarkError, match=r"counted: left no .*report\.json"):
        run(tmp_path, made)


def test_a_forgotten_stage_runs_from_its_beginning(tmp_path: Path) -> None:
    made = stage(tmp_path)
    run(tmp_path, made)
    forget_stage(made, work=tmp_path)
    assert run(tmp_path, made) == {"runs": 1}
