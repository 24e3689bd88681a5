"""Runs the tests against one mutant at a time, in a copy of the source that stands first on the import path."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Self

from mutation.mutants import Mutant
from mutation.targets import Target
from support.source.tree import REPOSITORY

_MIN_TIMEOUT_S = 20.0
# Shared machines are slow at times, and a mutant that hangs costs the whole limit.
_TIMEOUT_FACTOR = 4.0
_BASELINE_TIMEOUT_S = 1800.0


class BaselineError(Exception):
    """The tests fail without a mutation, so they can prove nothing."""


class Outcome(Enum):
    """The outcome of the tests with a mutant in place."""

    KILLED = "killed"
    TIMED_OUT = "timed out"
    SURVIVED = "survived"


class Workspace:
    """A copy of one source folder in which mutants are tried, one after the other.

    Args:
        folder: An empty folder for the copy.
        target: What is mutated and which tests run.
    """

    def __init__(self, folder: Path, target: Target) -> None:
        self._target = target
        self._root = folder / target.root
        shutil.copytree(REPOSITORY / target.root, self._root, ignore=shutil.ignore_patterns("__pycache__"))
        self._timeout_s = _BASELINE_TIMEOUT_S
        self._runner = self._start_runner(folder)

    def __enter__(self) -> Self:
        """Return the workspace."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the process that runs the tests."""
        assert self._runner.stdin is not None
        self._runner.stdin.close()
        self._runner.wait()

    def measure(self) -> float:
        """Run the tests without a mutation and derive the time limit of a mutant from the seconds they take.

        Returns:
            The seconds the tests took.

        Raises:
            BaselineError: A test fails without a mutation.
        """
        self._run_tests()  # The first run also loads the libraries.
        start = time.monotonic()
        status, output = self._run_tests()
        if status != 0:
            raise BaselineError(f"tests of {self._target.folder} fail without a mutation:\n{output}")
        seconds = time.monotonic() - start
        self._timeout_s = max(_MIN_TIMEOUT_S, _TIMEOUT_FACTOR * seconds)
        return seconds

    def use_timeout_of(self, other: Workspace) -> None:
        """Take over the time limit that another workspace measured."""
        self._timeout_s = other._timeout_s

    def test(self, mutant: Mutant) -> Outcome:
        """Run the tests with this mutant in place; a test that fails or does not end in time has noticed it."""
        path = self._root / mutant.module
        source = path.read_text(encoding="utf-8")
        path.write_text(mutant.apply(source), encoding="utf-8")
        try:
            status, _ = self._run_tests()
        finally:
            path.write_text(source, encoding="utf-8")
        if status is None:
            return Outcome.TIMED_OUT
        return Outcome.SURVIVED if status == 0 else Outcome.KILLED

    def _start_runner(self, folder: Path) -> subprocess.Popen[str]:
        arguments = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", "--hypothesis-seed=0"]
        # pytest warns of libraries that were loaded before it, and the project's settings make an error of a warning.
        arguments += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
        options = {
            "preload": self._target.preload,
            "arguments": [*arguments, "-m", self._target.marks, *self._target.tests],
            "log": str(folder / "tests.log"),
        }
        # Bytecode would hide a change that keeps the size and the second of a file.
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(self._root), str(REPOSITORY / "tests")]),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        return subprocess.Popen(
            [sys.executable, "-m", "mutation.runner", json.dumps(options)],
            cwd=REPOSITORY,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def _run_tests(self) -> tuple[int | None, str]:
        assert self._runner.stdin is not None
        assert self._runner.stdout is not None
        print(self._timeout_s, file=self._runner.stdin, flush=True)
        answer = json.loads(self._runner.stdout.readline())
        return answer["status"], answer["output"]
