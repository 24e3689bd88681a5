"""Servers that finish what they have accepted before their workers end."""

from __future__ import annotations

import asyncio

from drupelet_agent.serving.retirement import Retirement
from drupelet_agent.serving.server import ModelServer
from support.agent.fleet_bench import settle
from support.agent.serving import ServerBench


def test_an_idle_server_ends_at_once() -> None:
    async def scenario() -> None:
        bench = ServerBench()
        bench.start_ready()
        await Retirement().retire(bench.server)
        assert bench.workers.open == []

    asyncio.run(scenario())


def test_a_busy_server_ends_after_its_last_reply() -> None:
    async def scenario() -> None:
        bench = ServerBench()
        bench.start_ready()
        bench.submit(b"a", b"b")
        ended = Retirement().retire(bench.server)
        await settle()
        assert len(bench.workers.open) == 1
        for _ in range(2):
            bench.workers.latest.reply()
        await ended
        assert bench.jobs.codes == [(b"a", "ok"), (b"b", "ok")]
        assert bench.workers.open == []

    asyncio.run(scenario())


def test_retiring_all_waits_for_those_that_retired_before() -> None:
    async def scenario() -> None:
        before, now = ServerBench(), ServerBench()
        retirement = Retirement()
        for bench in (before, now):
            bench.start_ready()
        before.submit(b"a")
        retirement.retire(before.server)
        servers: list[ModelServer] = [now.server]
        task = asyncio.create_task(retirement.retire_all(servers))
        await settle()
        assert not task.done()
        assert now.workers.open == []
        before.workers.latest.reply()
        await task
        assert before.workers.open == []

    asyncio.run(scenario())
