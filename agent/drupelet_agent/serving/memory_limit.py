"""The limit on what a worker may allocate, native code included: set by itself at the start, moved by its parent."""

from __future__ import annotations

import logging
import resource

from drupelet_agent.errors import MemoryBudgetError
from drupelet_agent.serving.protocol import WorkerSpec
from drupelet_shared.process_memory import read_memory
from drupelet_shared.units import format_bytes

log = logging.getLogger(__name__)

_STACK_BYTES = 8 * 2**20


def limit_own_memory(spec: WorkerSpec) -> None:
    """Allow this process what its spec says; without a limit there it may allocate what it wants.

    Raises:
        MemoryBudgetError: It holds more already; under such a limit not even an error could be reported any more.
    """
    if not spec.memory_limit_bytes:
        return
    limit_bytes = _data_limit(spec)
    held_bytes = read_memory().data_bytes
    if held_bytes > limit_bytes:
        held, limit = format_bytes(held_bytes), format_bytes(spec.memory_limit_bytes)
        raise MemoryBudgetError(f"the engine of {spec.variant} alone holds {held}: the limit is {limit}")
    # Only the soft limit, which the parent may raise again when a neighbour has gone.
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, hard))


def limit_memory_of(pid: int, spec: WorkerSpec) -> None:
    """Allow a running worker what its spec says now; of what it holds it loses nothing."""
    try:
        _, hard = resource.prlimit(pid, resource.RLIMIT_DATA)
        resource.prlimit(pid, resource.RLIMIT_DATA, (_data_limit(spec), hard))
    except ProcessLookupError:
        # Its supervisor hears of its end soon, and the next one starts with the new limit.
        return
    except OSError as error:
        log.warning("worker keeps its memory limit pid=%d: %s", pid, error.strerror)


def _data_limit(spec: WorkerSpec) -> int:
    # RLIMIT_DATA counts what is allocated, and not the files that are mapped. It also counts the stacks of the engine's
    # threads whole, of which next to nothing is ever used.
    return spec.memory_limit_bytes + spec.threads * _STACK_BYTES
