"""Starts model servers while they fit in memory together, and lets the least recently used make room."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterable, Sequence

from drupelet_agent.config.sections import LimitsConfig
from drupelet_agent.errors import MemoryBudgetError
from drupelet_agent.planning.budget import Budget
from drupelet_agent.planning.residency import Resident, Room, find_room
from drupelet_agent.serving.server import ModelServer
from drupelet_shared.errors import ModelUnavailableError
from drupelet_shared.units import format_bytes

log = logging.getLogger(__name__)


class Residents:
    """Who is in memory; everything runs on the event loop."""

    def __init__(
        self, limits: LimitsConfig, *, capacity: Callable[[], Budget], servers: Callable[[], Iterable[ModelServer]]
    ) -> None:
        """Make the keeper.

        Args:
            limits: Whether models yield to each other, and when.
            capacity: The memory for all models together, read when it matters.
            servers: All servers there are.
        """
        self._may_evict = limits.evict == "least-recently-used"
        self._keep_s = limits.keep_s
        self._capacity = capacity
        self._servers = servers
        self._yielding: dict[ModelServer, asyncio.Task[None]] = {}

    def admit(
        self, server: ModelServer, *, after: asyncio.Task[None] | None = None, keeping: Sequence[ModelServer] = ()
    ) -> None:
        """Start a server that the store asks for; others yield for it, or it is set aside.

        Args:
            server: The server to start.
            after: The end of the one in whose place it comes, and whose room it has.
            keeping: Servers that must not yield for it.
        """
        capacity = self._capacity()
        before_s = math.inf if self._may_evict else None
        room = self._find_room(server, capacity, used_before_s=before_s, keeping=keeping)
        if room.fits or after is not None:
            self._start(server, room.victims, after=after)
            return
        why = _does_not_fit(server, room, capacity)
        log.warning("model %s is not started: %s", server.activation.model, why)
        if self._may_evict:
            server.set_aside("evicted", why, code=ModelUnavailableError.code)
        else:
            server.set_aside("failed", why, code=MemoryBudgetError.code)

    def fits_beside(self, server: ModelServer) -> bool:
        """Whether a server fits in memory with all that run, so that it can arrive while they answer."""
        return self._find_room(server, self._capacity(), used_before_s=None).fits

    def wake(self, server: ModelServer) -> str | None:
        """Start an evicted server that a request asks for, or say why that cannot be now."""
        if server in self._yielding:
            return "it is making room for another model at this moment"
        capacity = self._capacity()
        room = self._find_room(server, capacity, used_before_s=time.monotonic() - self._keep_s)
        if not room.fits:
            kept = f"; models used in the last {self._keep_s:g} s do not yield" if self._may_evict else ""
            return _does_not_fit(server, room, capacity) + kept
        self._start(server, room.victims)
        return None

    async def settle(self) -> None:
        """Wait until nobody is making room any more."""
        await asyncio.gather(*self._yielding.values())

    def _find_room(
        self,
        server: ModelServer,
        capacity: Budget,
        *,
        used_before_s: float | None,
        keeping: Sequence[ModelServer] = (),
    ) -> Room:
        residents = [
            Resident(
                name=_name(other),
                footprint_bytes=other.activation.plan.footprint_bytes,
                last_used_s=math.inf if other in keeping else other.last_used_s,
            )
            for other in self._servers()
            if other.running and other is not server and other not in self._yielding
        ]
        return find_room(
            server.activation.plan.footprint_bytes,
            residents,
            capacity_bytes=capacity.limit_bytes,
            used_before_s=used_before_s,
        )

    def _start(self, server: ModelServer, victims: Sequence[str], *, after: asyncio.Task[None] | None = None) -> None:
        server.reserve()
        for victim in [other for other in self._servers() if _name(other) in victims and other.running]:
            self._yielding[victim] = asyncio.create_task(self._yield(victim, to=server))
        leaving = [*self._yielding.values(), *([] if after is None else [after])]
        if not leaving:
            server.start()
            return
        # Both at once might be more than there is, so the workers start when the others are gone.
        gone = asyncio.gather(*leaving, return_exceptions=True)
        gone.add_done_callback(lambda _: server.start() if server.running else None)

    async def _yield(self, victim: ModelServer, *, to: ModelServer) -> None:
        why = f"made room for {to.activation.model}, least recently used"
        log.info("model %s evicted: %s", victim.activation.model, why)
        try:
            await victim.evict(why)
        finally:
            del self._yielding[victim]


def _name(server: ModelServer) -> str:
    return f"{server.activation.model}/{server.activation.version}"


def _does_not_fit(server: ModelServer, room: Room, capacity: Budget) -> str:
    return (
        f"it needs {format_bytes(server.activation.plan.footprint_bytes)}, the models in memory leave "
        f"{format_bytes(room.left_bytes)} of {format_bytes(capacity.limit_bytes)} ({capacity.reason})"
    )
