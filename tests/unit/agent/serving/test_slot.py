"""One model's servers and the transitions between them, with fakes around a single slot."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from drupelet_agent.config.limits import LimitsConfig
from drupelet_agent.errors import MemoryBudgetError
from drupelet_agent.planning.budget import Budget
from drupelet_agent.serving.admission import Admission
from drupelet_agent.serving.memory_shares import MemoryShares
from drupelet_agent.serving.retirement import Retirement
from drupelet_agent.serving.server import ModelServer, QueueLimits, ServerEvents
from drupelet_agent.serving.slot import ModelSlot, SlotContext
from drupelet_agent.store.records import Activation, ModelRecord
from drupelet_shared.contract.messages import ModelState, PlanChange
from drupelet_shared.errors import UnknownModelError
from fakes.clock import FakeClock
from fakes.workers import FakeWorkers
from support.agent.fleet_bench import MB, settle
from support.agent.serving import SPEC, Jobs
from support.agent.values import make_activation

FIRST, SECOND, THIRD = (make_activation(release=release) for release in (1, 2, 3))


class Bench:
    """One slot on a device whose models may use `capacity_mb`; each release needs 50 MB."""

    def __init__(self, *, capacity_mb: int = 1000) -> None:
        self.clock = FakeClock()
        self.workers = FakeWorkers()
        self.jobs = Jobs(self.clock)
        self.states: list[ModelState] = []
        self.outcomes: list[str] = []
        self.requests: list[str] = []
        self.failures: list[str] = []
        self.rebalanced = 0
        self.capacity = Budget(capacity_mb * MB, "limits.memory")
        self._retirement = Retirement()
        self._shares = MemoryShares(lambda: self.capacity)
        context = SlotContext(
            make_server=self._make_server,
            admission=Admission(
                LimitsConfig(), capacity=lambda: self.capacity, servers=lambda: self.slot.servers, clock=self.clock
            ),
            retire=self._retirement.retire,
            rebalance=self._rebalance,
            on_state=self.states.append,
            on_accepted=lambda: self.requests.append("accepted"),
            on_finished=lambda: self.requests.append("finished"),
            on_outcome=lambda _, outcome: self.outcomes.append(outcome.code),
            on_failed=lambda _, reason: self.failures.append(reason),
        )
        self.slot = ModelSlot(FIRST, ModelRecord(active=FIRST), context)

    def _make_server(self, activation: Activation, events: ServerEvents) -> ModelServer:
        return ModelServer(
            activation,
            SPEC,
            limits=QueueLimits(length=10, payload_bytes=10**6, inference_timeout_s=5.0),
            shares=self._shares,
            events=events,
            spawn=self.workers,
            clock=self.clock,
        )

    def _rebalance(self) -> None:
        self.rebalanced += 1

    def start(self) -> None:
        self.slot.current.start()
        self.workers.latest.become_ready()

    def take_over(self, activation: Activation) -> None:
        """Replace the release, and let its worker be ready."""
        self.slot.replace(activation)
        self.workers.latest.become_ready()

    def serve_earlier(self, release: Activation | None) -> None:
        self.slot.follow(self.slot.record, earlier=release)
        self.slot.serve_earlier(keep=[self.slot.current])

    @property
    def releases(self) -> tuple[int | None, ...]:
        """The releases of the current, the arriving and the earlier server."""
        slot = self.slot
        servers = (slot.current, slot.arriving, slot.earlier)
        return tuple(None if server is None else server.activation.release for server in servers)


Scenario = Callable[[Bench], Coroutine[Any, Any, None]]


def play(scenario: Scenario, **options: int) -> None:
    async def on_a_loop() -> None:
        await scenario(Bench(**options))

    asyncio.run(on_a_loop())


class TestTransitions:
    def test_a_release_arrives_beside_the_current_one_and_takes_over_when_it_is_ready(self) -> None:
        async def scenario(bench: Bench) -> None:
            bench.start()
            bench.slot.replace(SECOND)
            assert (bench.releases, bench.slot.target) == ((1, 2, None), SECOND)
            bench.workers.latest.become_ready()
            assert (bench.releases, bench.slot.target) == ((2, None, None), SECOND)
            await settle()
            assert len(bench.workers.open) == 1

        play(scenario)

    def test_the_release_that_stays_beside_becomes_the_earlier_one(self) -> None:
        async def scenario(bench: Bench) -> None:
            bench.start()
            bench.slot.follow(ModelRecord(active=SECOND, previous=FIRST), earlier=FIRST)
            bench.take_over(SECOND)
            assert bench.releases == (2, None, 1)
            await settle()
            assert len(bench.workers.open) == 2
            bench.slot.follow(ModelRecord(active=THIRD, previous=SECOND), earlier=SECOND)
            bench.take_over(THIRD)
            await settle()
            assert (bench.releases, len(bench.workers.open)) == ((3, None, 2), 2)

        play(scenario)

    def test_a_roll_back_to_the_earlier_release_needs_no_new_worker(self) -> None:
        async def scenario(bench: Bench) -> None:
            bench.start()
            bench.slot.follow(ModelRecord(active=SECOND, previous=FIRST), earlier=FIRST)
            bench.take_over(SECOND)
            bench.slot.follow(ModelRecord(active=FIRST, previous=SECOND), earlier=None)
            bench.slot.replace(FIRST)
            await settle()
            assert bench.releases == (1, None, None)
            assert len(bench.workers.started) == 2

        play(scenario)

    def test_an_arriving_release_is_dropped_for_the_current_one(self) -> None:
        async def scenario(bench: Bench) -> None:
            bench.start()
            bench.slot.replace(SECOND)
            bench.slot.replace(FIRST)
            assert bench.releases == (1, None, None)
            assert len(bench.workers.open) == 1

        play(scenario)

    def test_another_plan_for_the_same_workers_divides_memory_again(self) -> None:
        async def scenario(bench: Bench) -> None:
            bench.start()
            plan = FIRST.plan.model_copy(update={"footprint_bytes": 70 * MB})
            tuned = FIRST.model_copy(update={"plan": plan})
            bench.slot.replace(tuned)
            assert (bench.slot.current.activation, bench.rebalanced) == (tuned, 1)
            assert len(bench.workers.started) == 1
            bench.slot.replace(tuned)
            assert bench.rebalanced == 1

        play(scenario)

    def test_a_release_that_does_not_fit_beside_waits_for_the_end_of_the_current_one(self) -> None:
        async def scenario(bench: Bench) -> None:
            bench.start()
            old = bench.workers.latest
            bench.slot.replace(SECOND)
            assert bench.releases == (2, None, None)
            assert len(bench.workers.started) == 1
            await settle()
            assert (old.closed, len(bench.workers.started)) == (True, 2)

        play(scenario, capacity_mb=80)

    def test_an_earlier_release_is_started_and_stopped_as_the_store_says(self) -> None:
        async def scenario(bench: Bench) -> None:
            bench.start()
            bench.take_over(SECOND)
            bench.serve_earlier(FIRST)
            assert bench.releases == (2, None, 1)
            bench.serve_earlier(FIRST)
            assert len(bench.workers.started) == 3
            bench.serve_earlier(None)
            await settle()
            assert (bench.releases, len(bench.workers.open)) == ((2, None, None), 1)

        play(scenario)

    def test_a_removed_model_ends_every_worker_and_is_announced_as_removed(self) -> None:
        async def scenario(bench: Bench) -> None:
            bench.start()
            bench.take_over(SECOND)
            bench.serve_earlier(FIRST)
            bench.slot.replace(THIRD)
            bench.slot.remove()
            await settle()
            assert bench.workers.open == []
            assert bench.states[-1].health == "removed"

        play(scenario)


class TestFailures:
    def crash(self, bench: Bench) -> None:
        for _ in range(3):
            bench.workers.latest.die()
            bench.clock.advance(1)

    def test_a_current_release_that_keeps_crashing_is_reported(self) -> None:
        async def scenario(bench: Bench) -> None:
            bench.start()
            self.crash(bench)
            assert len(bench.failures) == 1
            assert bench.failures[0].startswith("whose workers keep failing: ")

        play(scenario)

    def test_an_arriving_release_that_keeps_crashing_is_not(self) -> None:
        async def scenario(bench: Bench) -> None:
            bench.start()
            bench.slot.replace(SECOND)
            self.crash(bench)
            assert (bench.failures, bench.releases) == ([], (1, 2, None))
            assert bench.slot.state().release == 1

        play(scenario)

    def test_a_model_that_finds_no_room_is_no_failure_of_its_release(self) -> None:
        async def scenario(bench: Bench) -> None:
            bench.slot.current.refuse_start("failed", "no room", code=MemoryBudgetError.code)
            assert bench.slot.waits_for_room
            assert bench.failures == []
            assert bench.states[-1].health == "failed"

        play(scenario)


class TestNumbers:
    def test_outcomes_of_the_current_server_count_and_are_passed_on(self) -> None:
        async def scenario(bench: Bench) -> None:
            bench.start()
            bench.slot.find(None).submit(bench.jobs.make(b"a"))
            bench.workers.latest.reply()
            assert (bench.outcomes, dict(bench.slot.metrics.totals)) == (["ok"], {"ok": 1})
            assert bench.requests == ["accepted", "finished"]

        play(scenario)

    def test_outcomes_of_an_earlier_release_do_not_count(self) -> None:
        async def scenario(bench: Bench) -> None:
            bench.start()
            bench.take_over(SECOND)
            bench.serve_earlier(FIRST)
            bench.workers.latest.become_ready()
            bench.slot.find("1.0.0").submit(bench.jobs.make(b"a"))
            bench.workers.latest.reply()
            assert bench.jobs.codes == [(b"a", "ok")]
            assert (bench.outcomes, dict(bench.slot.metrics.totals)) == ([], {})

        play(scenario)


class TestVersions:
    def test_a_version_names_its_server(self) -> None:
        async def scenario(bench: Bench) -> None:
            bench.start()
            bench.take_over(SECOND)
            bench.serve_earlier(FIRST)
            slot = bench.slot
            assert slot.find(None) is slot.find("2.0.0") is slot.current
            assert slot.find("1.0.0") is slot.earlier

        play(scenario)

    def test_a_version_in_the_store_that_is_not_served_is_refused_with_the_setting_that_serves_it(self) -> None:
        async def scenario(bench: Bench) -> None:
            bench.slot.follow(ModelRecord(active=FIRST, previous=make_activation(release=9)), earlier=None)
            with pytest.raises(UnknownModelError, match=r"version '9\.0\.0' .*limits\.versions = 2 would serve it"):
                bench.slot.find("9.0.0")
            with pytest.raises(UnknownModelError) as raised:
                bench.slot.find("8.0.0")
            assert "limits.versions" not in str(raised.value)

        play(scenario)


class TestState:
    def test_a_note_is_published_once_and_goes_with_its_release(self) -> None:
        async def scenario(bench: Bench) -> None:
            bench.start()
            published = len(bench.states)
            bench.slot.set_note("it is slow")
            bench.slot.set_note("it is slow")
            assert len(bench.states) == published + 1
            assert (bench.states[-1].error, bench.slot.note) == ("it is slow", "it is slow")
            bench.take_over(SECOND)
            assert (bench.states[-1].error, bench.slot.note) == (None, None)

        play(scenario)

    def test_an_error_of_the_server_goes_before_a_note(self) -> None:
        async def scenario(bench: Bench) -> None:
            bench.slot.set_note("it is slow")
            bench.slot.current.refuse_start("failed", "no room", code="memory_budget_exceeded")
            state = bench.slot.state()
            assert (state.error, state.code) == ("no room", "memory_budget_exceeded")

        play(scenario)

    def test_a_roll_back_by_the_agent_is_explained_and_three_changes_are_published(self) -> None:
        def change(number: int, what: str) -> PlanChange:
            return PlanChange.model_validate(
                {"at": "2026-01-01T00:00:00Z", "what": what, "release": number, "runs": "x", "why": f"why {number}"}
            )

        async def scenario(bench: Bench) -> None:
            changes = (*(change(number, "installed") for number in range(4)), change(4, "rolled_back_by_itself"))
            bench.slot.follow(ModelRecord(active=FIRST, changes=changes), earlier=None)
            state = bench.slot.state()
            assert state.error == "why 4"
            assert state.changes == changes[-3:]
            bench.slot.follow(ModelRecord(active=FIRST, changes=(*changes, change(5, "rolled_back"))), earlier=None)
            assert bench.slot.state().error is None
            bench.slot.follow(ModelRecord(active=FIRST), earlier=None)
            assert bench.slot.state().changes is None

        play(scenario)

    def test_the_state_names_the_earlier_version_while_it_answers(self) -> None:
        async def scenario(bench: Bench) -> None:
            bench.start()
            bench.take_over(SECOND)
            bench.serve_earlier(FIRST)
            assert bench.slot.state().earlier_versions is None
            bench.workers.latest.become_ready()
            assert bench.slot.state().earlier_versions == ("1.0.0",)

        play(scenario)
