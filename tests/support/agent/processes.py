"""Processes that a failing test does not wait for."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import AnyStr


@contextmanager
def killed_at_the_end(process: subprocess.Popen[AnyStr]) -> Iterator[subprocess.Popen[AnyStr]]:
    """End the process when the block raises: `with subprocess.Popen` alone would wait for it for ever."""
    with process:
        try:
            yield process
        finally:
            process.kill()
