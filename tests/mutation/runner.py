"""Child process of `make mutants`: runs the same tests repeatedly, each time in a fork with the slow libraries loaded.

Importing PyTorch takes seconds, and most tests of a target take less. Libraries that are never mutated are therefore
imported once; the product and its tests are imported only in the forks.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import NoReturn

import pytest

_POLL_S = 0.02


def main() -> None:
    """Read a time limit in seconds from each line of standard input, run the tests, and print the outcome as JSON."""
    options = json.loads(sys.argv[1])
    for name in options["preload"]:
        importlib.import_module(name)
    log = Path(options["log"])
    for line in sys.stdin:
        status = _run_in_fork(options["arguments"], log=log, limit_s=float(line))
        print(json.dumps({"status": status, "output": log.read_text(errors="replace")[-2000:]}), flush=True)


def _run_in_fork(arguments: list[str], *, log: Path, limit_s: float) -> int | None:
    """Return the exit status of pytest, negative for a signal, or None if the time limit ended the run."""
    child = os.fork()
    if child == 0:
        _run_tests(arguments, log=log)
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(_POLL_S)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def _run_tests(arguments: list[str], *, log: Path) -> NoReturn:
    status = int(pytest.ExitCode.INTERNAL_ERROR)
    try:
        os.setsid()
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        status = int(pytest.main(arguments))
    except BaseException:  # noqa: BLE001 - the log is all that is left of this process
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    main()
