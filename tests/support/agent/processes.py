"""Processes that a failing test does not wait for."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import AnyStr


@contextmanager
def killed_at_the_end(process: subprocess.Popen[AnyStr]) -> Iterator[subprocess.Popen[AnyStr]]:
    """Left by an exception, `with subprocess.Popen` alone waits for ever for a process that nobody ends."""
    with process:
        try:
            yield process
        finally:
            process.kill()
