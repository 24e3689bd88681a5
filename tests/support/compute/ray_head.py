"""The head of a Ray cluster as a program of its own, as an administrator starts it."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

_START_TIMEOUT_S = 180.0


@contextlib.contextmanager
def ray_head(folder: Path, *, processors: int) -> Iterator[str]:
    """Run a head in a folder without a project; yields its address for clients, ray://127.0.0.1:PORT.

    Args:
        folder: An empty folder, in which the head runs and writes what it says.
        processors: The number of processors of the cluster.
    """
    port, client_port = _free_port(), _free_port()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["RAY_AUTH_MODE"] = "disabled"
    # Paths of sockets have at most 107 characters, which folders of tests exceed.
    with tempfile.TemporaryDirectory(prefix="ray-") as sockets, (folder / "head.log").open("wb") as log:
        command = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", "--disable-usage-stats"]
        command += [f"--port={port}", f"--ray-client-server-port={client_port}", f"--num-cpus={processors}"]
        command += ["--node-ip-address=127.0.0.1", "--include-dashboard=false", f"--temp-dir={sockets}"]
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
        try:
            _wait_for(client_port, process, log_file=folder / "head.log")
            yield f"ray://127.0.0.1:{client_port}"
        finally:
            _end(process.pid)
            process.wait()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _wait_for(port: int, process: subprocess.Popen[bytes], *, log_file: Path) -> None:
    end_s = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < end_s:
        assert process.poll() is None, log_file.read_text()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.2)
    raise AssertionError(f"Ray's head did not start within {_START_TIMEOUT_S:g} s: {log_file.read_text()}")


def _end(process_id: int) -> None:
    """End a process and all that it started, and no other cluster of the machine."""
    processes = [psutil.Process(process_id)]
    processes += processes[0].children(recursive=True)
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes[1:], timeout=20)
