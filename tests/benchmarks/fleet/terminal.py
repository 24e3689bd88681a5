"""A command in a terminal of its own: what it has written, and the processor time and memory that it takes."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import sys
import termios
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

from benchmarks.child import BenchmarkError

_LINES, _COLUMNS = 50, 160
_ESCAPE = re.compile(rb"\x1b\[[0-9;?<>=]*[A-Za-z]")


@dataclass(slots=True)
class Terminal:
    """A running command.

    Attributes:
        process: The process.
        descriptor: The terminal's other end.
        start_s: When it was started.
    """

    process: psutil.Popen
    descriptor: int
    start_s: float

    def wait_for(self, pattern: str, *, timeout_s: float) -> float:
        """Return the seconds from the start until a text matches what is written."""
        written = b""
        while time.monotonic() < self.start_s + timeout_s:
            written = (written + self._read(0.2))[-200_000:]
            if re.search(pattern.encode(), _ESCAPE.sub(b"", written)):
                return time.monotonic() - self.start_s
        raise BenchmarkError(
            f"{pattern!r} was not written within {timeout_s:g} s: {_ESCAPE.sub(b'', written)[-500:]!r}"
        )

    def measure(self, *, seconds: float) -> dict[str, float]:
        """Return the share of one core and the memory over some time, while everything written is read."""
        before, start_s = self.cpu_s(), time.monotonic()
        while time.monotonic() < start_s + seconds:
            self._read(0.2)
        passed_s = time.monotonic() - start_s
        return {
            "cpu_share": round((self.cpu_s() - before) / passed_s, 3),
            "memory_mb": round(self.process.memory_info().rss / 1e6, 1),
        }

    def _read(self, timeout_s: float) -> bytes:
        if not select.select([self.descriptor], [], [], timeout_s)[0]:
            return b""
        try:
            return os.read(self.descriptor, 1 << 16)
        except OSError as error:
            raise BenchmarkError(f"the command has ended with {self.process.wait()}") from error

    def cpu_s(self) -> float:
        """Return the processor time that the command has taken."""
        times = self.process.cpu_times()
        return float(times.user + times.system)


@contextmanager
def terminal(words: Sequence[str]) -> Iterator[Terminal]:
    """Run a `drupelet` command in a terminal until the block ends."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", _LINES, _COLUMNS, 0, 0))
    start_s = time.monotonic()
    process = psutil.Popen(
        [sys.executable, "-m", "drupelet_host", *words],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm-256color"},
        start_new_session=True,
    )
    os.close(theirs)
    try:
        yield Terminal(process, ours, start_s)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
