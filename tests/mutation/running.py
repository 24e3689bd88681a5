"""Runs the tests against one mutant at a time, in a copy of the source that stands first on the import path."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from mutation.mutants import Mutant
from mutation.targets import Target
from support.source.tree import REPOSITORY

_MIN_TIMEOUT_S = 20.0
# Shared machines are slow at times, and a mutant that hangs costs the whole limit.
_TIMEOUT_FACTOR = 4.0


class BaselineError(Exception):
    """The tests fail without a mutation, so they can prove nothing."""


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
        self._timeout_s = _MIN_TIMEOUT_S

    def measure(self) -> float:
        """Run the tests without a mutation and derive the time limit of a mutant from the seconds they take.

        Returns:
            The seconds the tests took.

        Raises:
            BaselineError: A test fails without a mutation.
        """
        start = time.monotonic()
        run = self._run_tests(timeout_s=None)
        if run.returncode:
            raise BaselineError(f"tests of {self._target.folder} fail without a mutation:\n{run.stdout[-2000:]}")
        seconds = time.monotonic() - start
        self._timeout_s = max(_MIN_TIMEOUT_S, _TIMEOUT_FACTOR * seconds)
        return seconds

    def use_timeout_of(self, other: Workspace) -> None:
        """Take over the time limit that another workspace measured."""
        self._timeout_s = other._timeout_s

    def is_killed(self, mutant: Mutant) -> bool:
        """Tell whether a test fails, or does not end in time, with this mutant in place."""
        path = self._root / mutant.module
        source = path.read_text(encoding="utf-8")
        path.write_text(mutant.apply(source), encoding="utf-8")
        try:
            return self._run_tests(timeout_s=self._timeout_s).returncode != 0
        except subprocess.TimeoutExpired:
            return True
        finally:
            path.write_text(source, encoding="utf-8")

    def _run_tests(self, *, timeout_s: float | None) -> subprocess.CompletedProcess[str]:
        # Bytecode would hide a change that keeps the size and the second of a file.
        environment = {**os.environ, "PYTHONPATH": str(self._root), "PYTHONDONTWRITEBYTECODE": "1"}
        options = [
            "-x",
            "-q",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:randomly",
            "--hypothesis-seed=0",
            "-m",
            "not mosquitto",
        ]
        return subprocess.run(
            [sys.executable, "-m", "pytest", *options, *self._target.tests],
            cwd=REPOSITORY,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
            check=False,
        )
