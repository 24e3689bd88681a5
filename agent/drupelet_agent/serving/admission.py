"""Admission of model servers to memory, and eviction of the least recently used."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Iterable, Sequence

from drupelet_agent.config.limits import LimitsConfig
from drupelet_agent.errors import MemoryBudgetError
from drupelet_agent.planning.budget import Budget
from drupelet_agent.planning.residency import Resident, Room, find_room
from drupelet_agent.serving.clock import Clock
from drupelet_agent.serving.server import ModelServer
from drupelet_shared.errors import ModelUnavailableError
from drupelet_shared.units import format_bytes

log = logging.getLogger(__name__)


class Admission:
    """Starts servers while they fit in memory together; everything runs on the event loop.

    Invariant: the workers of a server start only when those that were evicted for it have ended.
    """

    def __init__(
        self,
        limits: LimitsConfig,
        *,
        capacity: Callable[[], Budget],
        servers: Callable[[], Iterable[ModelServer]],
        clock: Clock,
    ) -> None:
        """Create it with nothing in memory.

        Args:
            limits: Whether models are evicted for each other, and when.
            capacity: Returns the memory for all models together.
            servers: Returns every server that exists.
            clock: Time and timers.
        """
        self._may_evict = limits.evict == "least-recently-used"
        self._keep_s = limits.keep_s
        self._capacity = capacity
        self._servers = servers
        self._clock = clock
        self._evictions: dict[ModelServer, asyncio.Task[None]] = {}

    def admit(
        self, server: ModelServer, *, after: asyncio.Task[None] | None = None, keep: Sequence[ModelServer] = ()
    ) -> None:
        """Start a server of an active release, evicting others for it, or record that there is no room.

        Args:
            server: The server to start.
            after: The end of the server that it replaces, whose memory it takes over.
            keep: Servers that must not be evicted for it.
        """
        capacity = self._capacity()
        before_s = math.inf if self._may_evict else None
        room = self._find_room(server, capacity, used_before_s=before_s, keep=keep)
        if room.fits or after is not None:
            self._start(server, room.victims, after=after)
            return
        reason = _does_not_fit(server, room, capacity)
        log.warning("model %s is not started: %s", server.activation.model, reason)
        if self._may_evict:
            server.refuse_start("evicted", reason, code=ModelUnavailableError.code)
        else:
            server.refuse_start("failed", reason, code=MemoryBudgetError.code)

    def fits_beside(self, server: ModelServer) -> bool:
        """Return whether a server fits in memory together with all that run."""
        return self._find_room(server, self._capacity(), used_before_s=None).fits

    def wake(self, server: ModelServer) -> str | None:
        """Start an evicted server for a request, or return why it cannot start now."""
        if server in self._evictions:
            return "it is making room for another model at this moment"
        capacity = self._capacity()
        room = self._find_room(server, capacity, used_before_s=self._clock.now_s() - self._keep_s)
        if not room.fits:
            hint = f"; models used in the last {self._keep_s:g} s are not evicted" if self._may_evict else ""
            return _does_not_fit(server, room, capacity) + hint
        self._start(server, room.victims)
        return None

    async def wait_for_evictions(self) -> None:
        """Wait until every eviction has ended."""
        await asyncio.gather(*self._evictions.values())

    def _find_room(
        self, server: ModelServer, capacity: Budget, *, used_before_s: float | None, keep: Sequence[ModelServer] = ()
    ) -> Room:
        residents = [
            Resident(
                name=_name(other),
                footprint_bytes=other.footprint_bytes,
                last_used_s=math.inf if other in keep else other.last_used_s,
            )
            for other in self._servers()
            if other.running and other is not server and other not in self._evictions
        ]
        return find_room(
            server.footprint_bytes, residents, capacity_bytes=capacity.limit_bytes, used_before_s=used_before_s
        )

    def _start(self, server: ModelServer, victims: Sequence[str], *, after: asyncio.Task[None] | None = None) -> None:
        server.reserve()
        for victim in [other for other in self._servers() if _name(other) in victims and other.running]:
            self._evictions[victim] = asyncio.create_task(self._evict(victim, room_for=server))
        leaving = [*self._evictions.values(), *([] if after is None else [after])]
        if not leaving:
            server.start()
            return
        # Both at once might exceed the budget, so the workers start when the others have ended.
        gone = asyncio.gather(*leaving, return_exceptions=True)
        gone.add_done_callback(lambda _: server.start() if server.running else None)

    async def _evict(self, victim: ModelServer, *, room_for: ModelServer) -> None:
        reason = f"made room for {room_for.activation.model}, least recently used"
        log.info("model %s evicted: %s", victim.activation.model, reason)
        try:
            await victim.evict(reason)
        finally:
            del self._evictions[victim]


def _name(server: ModelServer) -> str:
    return f"{server.activation.model}/{server.activation.version}"


def _does_not_fit(server: ModelServer, room: Room, capacity: Budget) -> str:
    return (
        f"it needs {format_bytes(server.footprint_bytes)}, the models in memory leave "
        f"{format_bytes(room.left_bytes)} of {format_bytes(capacity.limit_bytes)} ({capacity.reason})"
    )
