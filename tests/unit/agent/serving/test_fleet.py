"""The models of a device follow its store: start, replacement without a gap, removal, roll-back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from drupelet_agent.store.records import Activation
from drupelet_shared.errors import UnknownModelError
from support.agent.fleet_bench import MB, FleetBench, settle
from support.agent.scenarios import run_scenario
from support.agent.values import make_activation

FIRST, SECOND, THIRD = (make_activation(release=release) for release in (1, 2, 3))
Scenario = Callable[[FleetBench], Coroutine[Any, Any, None]]


@pytest.fixture
def play(tmp_path: Path) -> Callable[..., None]:
    """Run a scenario on a fleet of its own."""

    def run(scenario: Scenario, **sections: object) -> None:
        run_scenario(lambda: FleetBench(tmp_path, sections=sections), scenario)

    return run


def with_footprint(activation: Activation, footprint_bytes: int) -> Activation:
    plan = activation.plan.model_copy(update={"footprint_bytes": footprint_bytes})
    return activation.model_copy(update={"plan": plan})


def test_an_active_release_is_served(play: Callable[..., None]) -> None:
    async def scenario(bench: FleetBench) -> None:
        worker = bench.serve(FIRST)
        bench.submit(b"a")
        worker.reply()
        assert bench.jobs.codes == [(b"a", "ok")]
        assert bench.outcomes == ["ok"]
        assert dict(bench.fleet.slots["digits"].metrics.totals) == {"ok": 1}

    play(scenario)


def test_an_unknown_model_is_refused_with_the_active_ones(play: Callable[..., None]) -> None:
    async def scenario(bench: FleetBench) -> None:
        bench.serve(FIRST)
        with pytest.raises(UnknownModelError, match=r"'faces' is not active here; active models: digits"):
            bench.fleet.find("faces", None)
        with pytest.raises(UnknownModelError, match=r"version '9' is not active here; the active version is '1\.0\.0'"):
            bench.fleet.find("digits", "9")

    play(scenario)


class TestTakeover:
    def test_the_old_release_answers_until_the_new_one_is_ready(self, play: Callable[..., None]) -> None:
        async def scenario(bench: FleetBench) -> None:
            old = bench.serve(FIRST)
            bench.install(SECOND)
            new = bench.workers.latest
            bench.submit(b"a")
            assert len(old.requests) == 1
            old.reply()
            new.become_ready()
            bench.submit(b"b")
            assert len(new.requests) == 1
            assert bench.latest_state.release == 2

        play(scenario)

    def test_the_old_server_finishes_its_jobs_and_then_ends(self, play: Callable[..., None]) -> None:
        async def scenario(bench: FleetBench) -> None:
            old = bench.serve(FIRST)
            bench.submit(b"a")
            bench.install(SECOND)
            bench.workers.latest.become_ready()
            await settle()
            assert not old.closed
            old.reply()
            await settle()
            assert old.closed
            assert [worker.pid for worker in bench.workers.open] == bench.fleet.pids

        play(scenario)

    def test_a_release_that_cannot_start_leaves_the_old_one_serving(self, play: Callable[..., None]) -> None:
        async def scenario(bench: FleetBench) -> None:
            old = bench.serve(FIRST)
            bench.install(SECOND)
            bench.crash()
            bench.submit(b"a")
            assert len(old.requests) == 1
            assert bench.fleet.slots["digits"].state().release == 1

        play(scenario)

    def test_a_third_release_drops_the_second_while_it_loads(self, play: Callable[..., None]) -> None:
        async def scenario(bench: FleetBench) -> None:
            bench.serve(FIRST)
            bench.install(SECOND)
            second = bench.workers.latest
            bench.install(THIRD)
            assert second.closed
            bench.workers.latest.become_ready()
            await settle()
            assert bench.fleet.slots["digits"].state().release == 3
            assert len(bench.workers.open) == 1

        play(scenario)

    def test_a_plan_for_the_same_workers_is_taken_over_without_a_restart(self, play: Callable[..., None]) -> None:
        async def scenario(bench: FleetBench) -> None:
            bench.serve(FIRST)
            plan = FIRST.plan.model_copy(update={"p99_ms": 1.5})
            bench.install(FIRST.model_copy(update={"plan": plan}))
            assert len(bench.workers.started) == 1
            assert bench.latest_state.plan.p99_ms == 1.5

        play(scenario)

    def test_two_releases_that_do_not_fit_together_take_turns(self, play: Callable[..., None]) -> None:
        async def scenario(bench: FleetBench) -> None:
            old = bench.serve(with_footprint(FIRST, 60 * MB))
            bench.submit(b"a")
            bench.install(with_footprint(SECOND, 60 * MB))
            bench.submit(b"b")
            assert len(bench.workers.started) == 1
            old.reply()
            await settle()
            bench.workers.latest.become_ready()
            bench.workers.latest.reply()
            assert old.closed
            assert bench.jobs.codes == [(b"a", "ok"), (b"b", "ok")]

        play(scenario, limits={"memory": 100 * MB})


class TestEarlierVersion:
    def test_the_release_before_answers_requests_for_its_version(self, play: Callable[..., None]) -> None:
        async def scenario(bench: FleetBench) -> None:
            old = bench.serve(FIRST)
            bench.install(SECOND)
            new = bench.workers.latest
            new.become_ready()
            bench.submit(b"a", version="1.0.0")
            bench.submit(b"b")
            assert (len(old.requests), len(new.requests)) == (1, 1)
            old.reply()
            new.reply()
            # The numbers are those of the active release.
            assert dict(bench.fleet.slots["digits"].metrics.totals) == {"ok": 1}
            assert bench.fleet.slots["digits"].state().earlier_versions == ("1.0.0",)

        play(scenario, limits={"versions": 2})

    def test_the_release_before_the_one_before_ends(self, play: Callable[..., None]) -> None:
        async def scenario(bench: FleetBench) -> None:
            oldest = bench.serve(FIRST)
            for activation in (SECOND, THIRD):
                bench.serve(activation)
            await settle()
            assert oldest.closed
            assert len(bench.workers.open) == 2
            with pytest.raises(UnknownModelError):
                bench.fleet.find("digits", "1.0.0")

        play(scenario, limits={"versions": 2})

    def test_after_a_restart_both_releases_are_served(self, play: Callable[..., None], tmp_path: Path) -> None:
        async def scenario(bench: FleetBench) -> None:
            for activation in (FIRST, SECOND):
                bench.serve(activation)
            again = FleetBench(tmp_path, sections={"limits": {"versions": 2}})
            again.fleet.follow_store()
            assert len(again.workers.started) == 2
            for worker in again.workers.started:
                worker.become_ready()
            assert again.fleet.slots["digits"].state().earlier_versions == ("1.0.0",)

        play(scenario, limits={"versions": 2})

    def test_without_a_second_version_the_error_names_the_setting(self, play: Callable[..., None]) -> None:
        async def scenario(bench: FleetBench) -> None:
            for activation in (FIRST, SECOND):
                bench.serve(activation)
            with pytest.raises(UnknownModelError, match=r"limits\.versions = 2 would serve it too"):
                bench.fleet.find("digits", "1.0.0")

        play(scenario)


class TestRollBack:
    def test_a_release_whose_workers_keep_failing_is_rolled_back(self, play: Callable[..., None]) -> None:
        async def scenario(bench: FleetBench) -> None:
            for activation in (FIRST, SECOND):
                bench.serve(activation)
            bench.crash()
            active = bench.store.record("digits").active
            assert active is not None
            assert active.release == 1
            bench.fleet.follow_store()
            bench.workers.latest.become_ready()
            error = bench.fleet.slots["digits"].state().error
            assert error is not None
            assert error.startswith("rolled back from release 2, whose workers keep failing")

        play(scenario)

    def test_two_releases_that_both_fail_do_not_alternate(self, play: Callable[..., None]) -> None:
        async def scenario(bench: FleetBench) -> None:
            for activation in (FIRST, SECOND):
                bench.serve(activation)
            bench.crash()
            bench.fleet.follow_store()
            bench.workers.latest.become_ready()
            for _ in range(3):
                bench.crash()
                bench.fleet.follow_store()
            record = bench.store.record("digits")
            assert record.active is not None
            assert record.active.release == 1
            assert [change.what for change in record.changes] == ["installed", "installed", "rolled_back_by_itself"]
            note = bench.fleet.slots["digits"].note
            assert note is not None
            assert note.endswith("there is no earlier release to go back to")

        play(scenario)

    def test_a_roll_back_waits_for_another_writer(self, play: Callable[..., None]) -> None:
        async def scenario(bench: FleetBench) -> None:
            for activation in (FIRST, SECOND):
                bench.serve(activation)
            with bench.store.writer():
                bench.crash()
                record = bench.store.record("digits")
                assert record.active == SECOND
            bench.clock.advance(1)
            assert bench.store.record("digits").active == FIRST

        play(scenario)

    def test_a_roll_back_that_waits_is_dropped_when_another_release_serves(self, play: Callable[..., None]) -> None:
        async def scenario(bench: FleetBench) -> None:
            for activation in (FIRST, SECOND):
                bench.serve(activation)
            with bench.store.writer():
                bench.crash()
            bench.install(THIRD)
            bench.workers.latest.become_ready()
            bench.clock.advance(5)
            assert bench.store.record("digits").active == THIRD

        play(scenario)


class TestRemoval:
    def test_a_removed_model_is_announced_and_its_workers_end(self, play: Callable[..., None]) -> None:
        async def scenario(bench: FleetBench) -> None:
            worker = bench.serve(FIRST)
            bench.remove("digits")
            await settle()
            assert bench.latest_state.health == "removed"
            assert worker.closed
            assert bench.fleet.pids == []
            assert dict(bench.fleet.slots) == {}

        play(scenario)

    def test_a_model_that_is_installed_again_has_no_note_and_no_numbers_of_the_removed_one(
        self, play: Callable[..., None]
    ) -> None:
        async def scenario(bench: FleetBench) -> None:
            worker = bench.serve(FIRST)
            bench.submit(b"a")
            worker.reply()
            slot = bench.fleet.slots["digits"]
            bench.fleet.roll_back(slot, "which broke its contract")
            assert bench.latest_state.error is not None
            bench.remove("digits")
            bench.serve(FIRST)
            assert bench.latest_state.health == "ready"
            assert bench.latest_state.error is None
            assert dict(bench.fleet.slots["digits"].metrics.totals) == {}

        play(scenario)

    def test_another_release_withdraws_the_note(self, play: Callable[..., None]) -> None:
        async def scenario(bench: FleetBench) -> None:
            bench.serve(FIRST)
            bench.fleet.slots["digits"].set_note("too slow")
            bench.serve(SECOND)
            assert bench.latest_state.error is None

        play(scenario)


def test_a_note_is_published_once_and_withdrawn_once(tmp_path: Path) -> None:
    async def run() -> None:
        bench = FleetBench(tmp_path)
        bench.serve(FIRST)
        bench.states.clear()
        slot = bench.fleet.slots["digits"]
        for note in ("too slow", "too slow", None, None):
            slot.set_note(note)
        assert [state.error for state in bench.states] == ["too slow", None]

    asyncio.run(run())


class TestMemory:
    def test_a_model_that_does_not_fit_is_announced_and_served_once_there_is_room(
        self, play: Callable[..., None]
    ) -> None:
        async def scenario(bench: FleetBench) -> None:
            bench.serve(with_footprint(make_activation("digits"), 60 * MB))
            bench.install(with_footprint(make_activation("faces"), 60 * MB))
            state = bench.fleet.slots["faces"].state()
            assert (state.health, state.code) == ("failed", "memory_budget_exceeded")
            assert bench.store.record("faces").active is not None
            bench.remove("digits")
            await settle()
            bench.fleet.follow_store()
            bench.workers.latest.become_ready()
            assert bench.fleet.slots["faces"].state().health == "ready"

        play(scenario, limits={"memory": 100 * MB})

    def test_requests_and_models_divide_the_limit(self, play: Callable[..., None]) -> None:
        async def scenario(bench: FleetBench) -> None:
            assert bench.fleet.capacity().limit_bytes == 70 * MB
            bench.install(with_footprint(FIRST, MB))
            bench.submit(*[bytes(4 * MB)] * 3)
            assert [code for _, code in bench.jobs.codes] == ["overloaded"] * 2

        play(scenario, limits={"memory": 80 * MB})


def test_stopping_answers_what_was_accepted_and_ends_every_worker(tmp_path: Path) -> None:
    async def run() -> None:
        bench = FleetBench(tmp_path)
        worker = bench.serve(FIRST)
        bench.submit(b"a")
        stopping = asyncio.create_task(bench.fleet.stop())
        await settle()
        worker.reply()
        await stopping
        assert bench.jobs.codes == [(b"a", "ok")]
        assert bench.workers.open == []

    asyncio.run(run())
