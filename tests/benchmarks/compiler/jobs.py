"""Makes the rows in processes of their own, several at a time where the machine has the cores."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.compiler.making import NEEDS

_POLL_S = 0.5
_GRACE_S = 10
_SECONDS_PER_MINUTE = 60
# What comes before and after a search: the original's measures, the last candidate, files, calibration, the report.
_BESIDE_SEARCH_MINUTES = {"f": 2.5, "f2": 2.5, "g": 1.25}


@dataclass(frozen=True, slots=True)
class Limits:
    """How the rows share the machine.

    Attributes:
        jobs: Rows in the making at a time.
        threads: Of each, for training.
        end_s: When (`time.monotonic`) a row that is not done is given up; None is never.
    """

    jobs: int
    threads: int
    end_s: float | None

    def left_minutes(self) -> float | None:
        """Until the end."""
        return None if self.end_s is None else max(0.0, self.end_s - time.monotonic()) / _SECONDS_PER_MINUTE


@dataclass(slots=True)
class Jobs:
    """The rows still to be made.

    Attributes:
        work: The run's folder.
        waiting: Names of rows, the most urgent first.
        limits: How they share the machine.
        skipped: Why rows were not made.
    """

    work: Path
    waiting: list[str]
    limits: Limits
    skipped: dict[str, str] = field(default_factory=dict)
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def run(self) -> Mapping[str, str]:
        """Make them all; tells which were not, and why."""
        try:
            while self.waiting or self._running:
                if self.limits.left_minutes() == 0:
                    self._give_up()
                    break
                self._start()
                time.sleep(_POLL_S)
                self._collect()
        finally:
            self._end_running()
        return self.skipped

    def _start(self) -> None:
        for name in list(self.waiting):
            unmet = [need for need in NEEDS.get(name, ()) if need in self.waiting or need in self._running]
            if len(self._running) < self.limits.jobs and not unmet:
                self.waiting.remove(name)
                self._running[name] = subprocess.Popen(_command(self.work, name, self.limits), env=_environment())

    def _collect(self) -> None:
        for name, process in list(self._running.items()):
            status = process.poll()
            if status is not None:
                del self._running[name]
                _say(f"{name}: done" if status == 0 else f"{name}: ended with status {status}")
                if status != 0:
                    self.skipped[name] = f"ended with status {status}"

    def _give_up(self) -> None:
        for name in [*self._running, *self.waiting]:
            self.skipped[name] = "the time was over"
        self.waiting.clear()
        self._end_running()

    def _end_running(self) -> None:
        for process in self._running.values():
            process.terminate()
        for process in self._running.values():
            try:
                process.wait(_GRACE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._running.clear()


def _command(work: Path, name: str, limits: Limits) -> Sequence[str]:
    command = [sys.executable, "-m", "benchmarks.compiler.making", str(work), name, "--threads", str(limits.threads)]
    left = limits.left_minutes()
    if left is None:
        return command
    return [*command, "--max-minutes", f"{max(0.1, left - _BESIDE_SEARCH_MINUTES.get(name, 0.0)):.3f}"]


def _environment() -> Mapping[str, str]:
    """This process's, and where it found its modules."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)
