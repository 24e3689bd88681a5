"""One local worker process: the parent's side."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from multiprocessing.connection import Connection
from pathlib import Path

from drupelet_host.recipe.user_folders import program_path

READY = b"ready"
_STANDARD_ERROR = 2


class WorkerProcess:
    """A worker process in a session of its own, so that a signal ends it with all processes that it starts.

    Args:
        folder: Where it reads shared values.
    """

    def __init__(self, folder: Path) -> None:
        ours, theirs = socket.socketpair()
        # The worker ends when this end closes, whatever it is doing: see `worker`.
        reader, self._lifeline = os.pipe()
        command = [sys.executable, "-m", "drupelet_host.compute.worker", str(folder)]
        command += ["--fd", str(theirs.fileno()), "--lifeline", str(reader)]
        paths = os.pathsep.join(path or os.getcwd() for path in program_path())  # noqa: PTH109 - a text is wanted
        try:
            self._process = subprocess.Popen(
                command,
                pass_fds=[theirs.fileno(), reader],
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                # Standard output is for the result of a command, which a library's message would spoil.
                stdout=_STANDARD_ERROR,
                env={**os.environ, "PYTHONPATH": paths},
            )
        finally:
            theirs.close()
            os.close(reader)
        self.connection = Connection(ours.detach())
        self.is_ready = False
        self.number: int | None = None

    @property
    def process_id(self) -> int:
        """The process."""
        return self._process.pid

    def kill(self) -> None:
        """End the process and those that it has started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self.connection.close()
        with contextlib.suppress(OSError):
            os.close(self._lifeline)
        self._process.wait()

    def describe_end(self) -> str:
        """Return how the process ended, after `kill`."""
        status = self._process.returncode
        return f"signal {-status}" if status < 0 else f"status {status}"
