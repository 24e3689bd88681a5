"""Helper processes of the benchmarks: modules run with one JSON argument that say when they are ready."""

from __future__ import annotations

import json
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

READY = "ready"
_START_TIMEOUT_S = 120.0


class BenchmarkError(Exception):
    """A piece of the benchmark could not be measured."""


@contextmanager
def child(module: str, argument: object) -> Iterator[subprocess.Popen[str]]:
    """Run a module of this folder as its own process, ready when this yields and killed at the end."""
    command = [sys.executable, "-m", module, json.dumps(argument)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = read_line(process, timeout_s=_START_TIMEOUT_S)
            if line != READY:
                raise BenchmarkError(f"{module}: said {line!r} where {READY!r} was expected")
            yield process
        finally:
            process.kill()


def read_line(process: subprocess.Popen[str], *, timeout_s: float) -> str:
    """Return the next line of a process that says one thing at a time.

    Raises:
        BenchmarkError: None came in time.
    """
    assert process.stdout is not None
    if not select.select([process.stdout], [], [], timeout_s)[0]:
        raise BenchmarkError(f"{process.args!r}: said nothing within {timeout_s:g} s")
    return process.stdout.readline().strip()
