"""A local worker process: runs one task at a time until its parent closes the connection or ends."""

from __future__ import annotations

import argparse
import os
import signal
import threading
from multiprocessing.connection import Connection
from pathlib import Path

from drupelet_host.compute.execution import SharedValues, execute
from drupelet_host.compute.worker_process import READY


def main() -> None:
    """Serve the parent."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--lifeline", type=int, required=True)
    arguments = parser.parse_args()
    threading.Thread(target=_end_with_parent, args=(arguments.lifeline,), daemon=True).start()
    # The parent decides what an interruption means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    folder: Path = arguments.folder
    shared = SharedValues(lambda key: (folder / key).read_bytes())
    connection = Connection(arguments.fd)
    connection.send_bytes(READY)
    while True:
        try:
            payload = connection.recv_bytes()
        except (EOFError, ConnectionError):
            return
        connection.send_bytes(execute(payload, shared))


def _end_with_parent(lifeline: int) -> None:
    """Wait for the parent's end of a pipe to close, then end this process and those that it has started."""
    os.read(lifeline, 1)
    os.killpg(os.getpgid(0), signal.SIGKILL)


if __name__ == "__main__":
    main()
