"""One process at a time: locks on files, which end with the process that holds them."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from drupelet_agent.errors import StoreBusyError, store_errors

_RETRY_S = 0.05


@contextmanager
def held(path: Path, *, what: str, doing: str, patience_s: float) -> Iterator[None]:
    """Hold a lock until the block ends.

    Args:
        path: Its file; made if need be, and never written to, for that would wear out the card.
        what: What is locked, for the message.
        doing: What whoever holds it is doing, for the message.
        patience_s: How long to wait for another.

    Raises:
        StoreBusyError: Another process holds it.
        StoreError: The file cannot be made.
    """
    deadline = time.monotonic() + patience_s
    with store_errors(path.parent):
        opened = path.open("a")
    with opened as file:
        while not _try_lock(file):
            if time.monotonic() >= deadline:
                raise StoreBusyError(f"{what}: another process is {doing}")
            time.sleep(_RETRY_S)
        yield


def _try_lock(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
