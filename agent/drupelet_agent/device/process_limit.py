"""Limits the memory that a process may allocate, including native code."""

from __future__ import annotations

import logging
import resource

from drupelet_agent.errors import MemoryBudgetError
from drupelet_shared.process_memory import read_memory
from drupelet_shared.units import format_bytes

log = logging.getLogger(__name__)

_STACK_BYTES = 8 * 2**20


def limit_own_memory(limit_bytes: int, *, threads: int, what: str) -> None:
    """Limit what this process may allocate.

    Args:
        limit_bytes: The limit; 0 sets none.
        threads: The threads of the engine, whose stacks are allowed on top.
        what: What the process runs, for the error message.

    Raises:
        MemoryBudgetError: The process already holds more; under such a limit it could not even report an error.
    """
    if not limit_bytes:
        return
    data_limit_bytes = _data_limit(limit_bytes, threads=threads)
    held_bytes = read_memory().data_bytes
    if held_bytes > data_limit_bytes:
        held, limit = format_bytes(held_bytes), format_bytes(limit_bytes)
        raise MemoryBudgetError(f"{what} alone holds {held}: the limit is {limit}")
    # Only the soft limit: the parent may raise it again when another model stops.
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (data_limit_bytes, hard))


def limit_memory_of(pid: int, limit_bytes: int, *, threads: int) -> None:
    """Limit what another process may allocate from now on; it keeps what it holds.

    Args:
        pid: The process.
        limit_bytes: The limit.
        threads: The threads of its engine, whose stacks are allowed on top.
    """
    try:
        _, hard = resource.prlimit(pid, resource.RLIMIT_DATA)
        resource.prlimit(pid, resource.RLIMIT_DATA, (_data_limit(limit_bytes, threads=threads), hard))
    except ProcessLookupError:
        # Its supervisor notices the end soon and starts the next process with the new limit.
        return
    except OSError as error:
        log.warning("worker keeps its memory limit pid=%d: %s", pid, error.strerror)


def _data_limit(limit_bytes: int, *, threads: int) -> int:
    # RLIMIT_DATA counts allocations and not mapped files. It also counts the whole stacks of the engine's threads, of
    # which next to nothing is ever used.
    return limit_bytes + threads * _STACK_BYTES
