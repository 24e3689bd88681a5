"""The limit on what a process may allocate: set by itself, and moved by its parent."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys
from drupelet_agent.device.process_limit import limit_memory_of, limit_own_memory
from drupelet_agent.errors import MemoryBudgetError
from drupelet_shared.process_memory import read_memory

held = read_memory().data_bytes
mode, room = sys.argv[1], int(sys.argv[2])
try:
    if mode == "own":
        limit_own_memory(held + room, threads=0, what="the engine of v")
    elif mode == "other":
        import os
        limit_memory_of(os.getpid(), held + room, threads=0)
    else:
        limit_own_memory(1000, threads=0, what="the engine of v")
    bytearray(200_000_000)
    print("allocated")
except MemoryError:
    print("refused")
except MemoryBudgetError as error:
    print(error)
"""


def run(mode: str, room: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, mode, str(room)], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.strip()


def test_a_process_may_allocate_what_its_limit_leaves() -> None:
    assert run("own", 400_000_000) == "allocated"
    assert run("own", 100_000_000) == "refused"


def test_a_parent_moves_the_limit_of_a_process_that_runs() -> None:
    assert run("other", 400_000_000) == "allocated"
    assert run("other", 100_000_000) == "refused"


def test_a_process_that_holds_more_than_its_limit_says_so() -> None:
    message = run("below")
    assert message.startswith("the engine of v alone holds ")
    assert message.endswith("the limit is 1.0 KB")
