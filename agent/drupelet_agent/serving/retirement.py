"""Retirement of servers: they finish what they have accepted, then their workers end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from drupelet_agent.serving.server import ModelServer

_DRAIN_S = 10.0


class Retirement:
    """Retires servers in the background, each within ten seconds."""

    def __init__(self) -> None:
        """Start with nothing to retire."""
        self._tasks: set[asyncio.Task[None]] = set()

    def retire(self, server: ModelServer) -> asyncio.Task[None]:
        """Drain and stop a server in the background, and return that task."""
        task = asyncio.create_task(_drain_and_stop(server))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def retire_all(self, servers: Sequence[ModelServer]) -> None:
        """Retire servers, and wait for them and for all that were retired before."""
        for server in servers:
            self.retire(server)
        await asyncio.gather(*self._tasks)


async def _drain_and_stop(server: ModelServer) -> None:
    await server.drain(timeout_s=_DRAIN_S)
    server.stop()
