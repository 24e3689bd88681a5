"""Which models are in memory: eviction of the least recently used, and workers that together fit in the budget."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from drupelet_agent.store.records import Activation
from fakes.workers import FakeWorker
from support.agent.fleet_bench import MB, FleetBench, settle
from support.agent.scenarios import run_scenario
from support.agent.values import make_activation

# 140 MB for models: two of 60 MB fit.
LIMITS = {"memory": 160 * MB, "evict": "least-recently-used", "keep_s": 10.0}
Scenario = Callable[[FleetBench], Coroutine[Any, Any, None]]


def model_of(name: str) -> Activation:
    activation = make_activation(name, digest=f"{sum(name.encode()):064x}")
    plan = activation.plan.model_copy(update={"footprint_bytes": 60 * MB})
    return activation.model_copy(update={"plan": plan})


async def serve(bench: FleetBench, name: str) -> FakeWorker:
    """Install a model; its worker is ready once what was evicted for it has ended."""
    bench.clock.advance(1)
    started = len(bench.workers.started)
    bench.install(model_of(name))
    await settle()
    assert len(bench.workers.started) == started + 1
    bench.workers.latest.become_ready()
    return bench.workers.latest


@pytest.fixture
def play(tmp_path: Path) -> Callable[[Scenario], None]:
    return partial(run_scenario, lambda: FleetBench(tmp_path, sections={"limits": LIMITS}))


def health(bench: FleetBench, name: str) -> str:
    return bench.fleet.slots[name].current.health


def test_the_least_recently_used_model_is_evicted_for_one_that_is_installed(play: Callable[[Scenario], None]) -> None:
    async def scenario(bench: FleetBench) -> None:
        first = await serve(bench, "a")
        await serve(bench, "b")
        bench.clock.advance(1)
        bench.submit(b"x", model="a")
        first.reply()
        await serve(bench, "c")
        assert [health(bench, name) for name in "abc"] == ["ready", "evicted", "ready"]

    play(scenario)


def test_a_worker_starts_only_when_those_evicted_for_it_have_ended(play: Callable[[Scenario], None]) -> None:
    async def scenario(bench: FleetBench) -> None:
        first = await serve(bench, "a")
        await serve(bench, "b")
        bench.submit(b"x", model="a")
        bench.clock.advance(1)
        bench.submit(b"y", model="b")
        bench.workers.latest.reply()
        bench.install(model_of("c"))
        await settle()
        # The first model still computes.
        assert len(bench.workers.started) == 2
        assert health(bench, "c") == "starting"
        first.reply()
        await settle()
        assert first.closed
        assert len(bench.workers.started) == 3
        assert bench.jobs.codes == [(b"y", "ok"), (b"x", "ok")]

    play(scenario)


def test_a_request_wakes_an_evicted_model(play: Callable[[Scenario], None]) -> None:
    async def scenario(bench: FleetBench) -> None:
        for name in "abc":
            await serve(bench, name)
        assert health(bench, "a") == "evicted"
        bench.clock.advance(20)
        bench.submit(b"x", model="a")
        await settle()
        bench.workers.latest.become_ready()
        bench.workers.latest.reply()
        assert bench.jobs.codes == [(b"x", "ok")]
        assert [health(bench, name) for name in "abc"] == ["ready", "evicted", "ready"]

    play(scenario)


def test_models_that_were_just_used_are_not_evicted_for_a_request(play: Callable[[Scenario], None]) -> None:
    async def scenario(bench: FleetBench) -> None:
        for name in "abc":
            await serve(bench, name)
        bench.submit(b"x", model="a")
        ((_, outcome),) = bench.jobs.finished
        assert outcome.code == "model_unavailable"
        assert outcome.payload is not None
        assert b"models used in the last 10 s are not evicted" in outcome.payload

    play(scenario)


def test_a_model_that_is_making_room_refuses_requests(play: Callable[[Scenario], None]) -> None:
    async def scenario(bench: FleetBench) -> None:
        first = await serve(bench, "a")
        await serve(bench, "b")
        bench.submit(b"x", model="a")
        bench.clock.advance(1)
        bench.submit(b"y", model="b")
        bench.install(model_of("c"))
        await settle()
        bench.submit(b"z", model="a")
        assert bench.jobs.codes == [(b"z", "model_unavailable")]
        first.reply()

    play(scenario)


def test_of_models_that_do_not_fit_together_the_last_changed_one_runs(tmp_path: Path) -> None:
    async def run() -> None:
        # One model fits.
        bench = FleetBench(tmp_path, sections={"limits": {"memory": 80 * MB}})
        bench.serve(model_of("a"))
        bench.install(model_of("b"))
        assert health(bench, "b") == "failed"
        again = FleetBench(tmp_path, sections={"limits": {"memory": 80 * MB}})
        again.fleet.follow_store()
        again.workers.latest.become_ready()
        assert (health(again, "a"), health(again, "b")) == ("failed", "ready")

    asyncio.run(run())


def test_stopping_waits_for_evictions(play: Callable[[Scenario], None]) -> None:
    async def scenario(bench: FleetBench) -> None:
        first = await serve(bench, "a")
        await serve(bench, "b")
        bench.submit(b"x", model="a")
        bench.clock.advance(1)
        bench.submit(b"y", model="b")
        bench.workers.latest.reply()
        bench.install(model_of("c"))
        await settle()
        stopping = asyncio.create_task(bench.fleet.stop())
        await settle()
        first.reply()
        await stopping
        assert bench.workers.open == []

    play(scenario)
