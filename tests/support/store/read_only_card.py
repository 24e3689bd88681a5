"""Runs the agent on a store whose file system turns read-only when the process receives SIGUSR1.

Must be root of a mount namespace of its own:
`unshare --user --map-root-user --mount python -m support.store.read_only_card STATE ready|read-only COMMAND...`.
"""

from __future__ import annotations

import signal
import subprocess
import sys


def mount(*options: str) -> None:
    """Call mount(8)."""
    subprocess.run(["mount", *options], check=True)


def main() -> int:
    """Mount the store onto itself, run the command, and pass SIGTERM on to it."""
    state, start, *command = sys.argv[1:]

    def turn_read_only(*_: object) -> None:
        mount("-o", "remount,bind,ro", state)

    mount("--bind", state, state)
    if start == "read-only":
        turn_read_only()
    with subprocess.Popen(command) as process:
        signal.signal(signal.SIGUSR1, turn_read_only)
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        return process.wait()


if __name__ == "__main__":
    sys.exit(main())
