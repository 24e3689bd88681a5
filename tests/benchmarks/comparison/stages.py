"""The stages of `make bench`: each is a benchmark of its own, run as a process, whose JSON is collected."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.child import BenchmarkError
from drupelet_shared.files import write_atomically


@dataclass(frozen=True, slots=True)
class Stage:
    """One benchmark.

    Attributes:
        name: Of the stage and of its result.
        commands: What to run, one after the other.
        report: The JSON file that they leave.
        forget: Files that a repetition must not find, as patterns in the work folder.
    """

    name: str
    commands: tuple[tuple[str, ...], ...]
    report: Path
    forget: tuple[str, ...] = ()


def run_stage(stage: Stage, *, work: Path, results: Path, say: Callable[[str], None]) -> None:
    """Run a stage unless it is done, and keep its JSON as a result.

    A stage that was ended runs again and goes on where its own benchmark can.

    Args:
        stage: The stage.
        work: The folder of what is done.
        results: The folder of results.
        say: Hears how it goes.

    Raises:
        BenchmarkError: The benchmark failed, or left no report.
    """
    done = work / f"{stage.name}.done.json"
    if done.is_file():
        say(f"{stage.name}: done before, in {_read(done)['seconds']:.0f} s; --again {stage.name} repeats it")
        return
    # What an earlier run left is no sign that this one did its work.
    stage.report.unlink(missing_ok=True)
    start_s = time.monotonic()
    for command in stage.commands:
        say(f"{stage.name}: {' '.join(command)}")
        # Standard output is the report, which is read from the file.
        status = subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode
        if status:
            raise BenchmarkError(f"{stage.name}: ended with status {status}; the next run goes on with it")
    if not stage.report.is_file():
        raise BenchmarkError(f"{stage.name}: left no {stage.report}")
    seconds = time.monotonic() - start_s
    results.mkdir(parents=True, exist_ok=True)
    report = json.dumps(_read(stage.report), indent=2) + "\n"
    write_atomically(results / f"{stage.name}.json", report.encode())
    record = {"seconds": round(seconds, 1), "finished": datetime.now(UTC).isoformat(timespec="seconds")}
    write_atomically(done, json.dumps(record).encode())
    say(f"{stage.name}: done in {seconds:.0f} s")


def forget_stage(stage: Stage, *, work: Path) -> None:
    """Let the next run do the stage again from its beginning."""
    (work / f"{stage.name}.done.json").unlink(missing_ok=True)
    for pattern in stage.forget:
        for path in work.glob(pattern):
            path.unlink()


def _read(path: Path) -> Mapping[str, Any]:
    report: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return report
