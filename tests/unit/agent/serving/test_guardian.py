"""The guardian acts on what was served: contracts, drift, and measuring again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from drupelet_agent.measuring.gate import ServingGate
from drupelet_agent.serving.guard.guardian import Guardian
from drupelet_agent.serving.job import Outcome
from support.agent.fleet_bench import DEVICE, FleetBench, settle
from support.agent.scenarios import run_scenario
from support.agent.serving import answered
from support.agent.values import make_activation

FIRST, SECOND = make_activation(release=1), make_activation(release=2)
FAILED = Outcome(code="inference_failed", payload=b"")
# The plan's p99 is 2 ms.
SECTIONS: dict[str, object] = {
    "contract": {"p99_ms": 50.0, "error_rate": 0.5, "window_s": 60.0, "min_requests": 20},
    "retune": {"confirm": 2, "min_interval_s": 100.0, "drift_factor": 10.0},
}


class GuardBench(FleetBench):
    """A guarded fleet, and what was measured again."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.measuring = False
        self.gate = ServingGate()
        self.tuned: list[tuple[str, str, bool]] = []
        self.tuning_ends = asyncio.Event()
        self.guardian = Guardian(
            self.config,
            lambda: self.measuring,
            gate=self.gate,
            tune=self._tune,
            clock=self.clock,
            read_snapshot=lambda: self.snapshot,
        )

    async def _tune(self, model: str, reason: str, *, fresh: bool) -> None:
        self.tuned.append((model, reason, fresh))
        await self.tuning_ends.wait()

    def record(self, outcome: Outcome, times: int) -> None:
        server = self.fleet.find("digits", None)
        for _ in range(times):
            self.guardian.record(server, outcome)

    def check(self, times: int = 1, *, every_s: float = 60.0) -> None:
        for _ in range(times):
            self.clock.advance(every_s)
            self.guardian.check(self.fleet)

    @property
    def active_release(self) -> int:
        active = self.store.record("digits").active
        assert active is not None
        return active.release


Scenario = Callable[[GuardBench], Coroutine[Any, Any, None]]


@pytest.fixture
def play(tmp_path: Path) -> Callable[[Scenario], None]:
    def make_bench() -> GuardBench:
        bench = GuardBench(tmp_path, sections=SECTIONS)
        bench.serve(FIRST)
        bench.serve(SECOND)
        # The conditions of the plan are those of the first check.
        bench.guardian.check(bench.fleet)
        return bench

    return partial(run_scenario, make_bench)


class TestContract:
    def test_a_release_that_is_too_slow_is_rolled_back(self, play: Callable[[Scenario], None]) -> None:
        async def scenario(bench: GuardBench) -> None:
            bench.record(answered(51.0), 20)
            bench.check()
            assert bench.active_release == 1

        play(scenario)

    def test_a_release_that_fails_too_often_is_rolled_back(self, play: Callable[[Scenario], None]) -> None:
        async def scenario(bench: GuardBench) -> None:
            bench.record(FAILED, 15)
            bench.record(answered(1.0), 10)
            bench.check()
            assert bench.active_release == 1

        play(scenario)

    def test_a_release_that_costs_a_worker_with_each_request_is_judged_while_its_worker_is_replaced(
        self, play: Callable[[Scenario], None]
    ) -> None:
        async def scenario(bench: GuardBench) -> None:
            server = bench.fleet.find("digits", None)
            bench.record(FAILED, 20)
            server.reserve()
            assert server.health == "starting"
            bench.check()
            assert bench.active_release == 1

        play(scenario)

    def test_two_releases_that_both_break_the_contract_do_not_alternate(self, play: Callable[[Scenario], None]) -> None:
        async def scenario(bench: GuardBench) -> None:
            for _ in range(4):
                bench.record(answered(51.0), 20)
                bench.check()
                bench.fleet.follow_store()
                bench.workers.latest.become_ready()
            assert bench.active_release == 1
            note = bench.fleet.slots["digits"].note
            assert note is not None
            assert "which broke its contract" in note

        play(scenario)

    def test_a_kept_contract_withdraws_the_note(self, play: Callable[[Scenario], None]) -> None:
        async def scenario(bench: GuardBench) -> None:
            bench.fleet.slots["digits"].set_note("too slow")
            bench.record(answered(1.0), 20)
            bench.check()
            assert bench.fleet.slots["digits"].note is None

        play(scenario)

    def test_too_few_requests_say_nothing(self, play: Callable[[Scenario], None]) -> None:
        async def scenario(bench: GuardBench) -> None:
            bench.record(answered(51.0), 19)
            bench.check()
            assert bench.active_release == 2

        play(scenario)

    def test_slowness_beside_a_measured_candidate_is_not_the_fault_of_the_release(
        self, play: Callable[[Scenario], None]
    ) -> None:
        async def scenario(bench: GuardBench) -> None:
            bench.gate.note_turn()
            bench.record(answered(51.0), 20)
            bench.check()
            assert bench.active_release == 2

        play(scenario)

    def test_failures_beside_a_measured_candidate_are_the_fault_of_the_release(
        self, play: Callable[[Scenario], None]
    ) -> None:
        async def scenario(bench: GuardBench) -> None:
            bench.gate.note_turn()
            bench.record(FAILED, 20)
            bench.check()
            assert bench.active_release == 1

        play(scenario)

    def test_candidates_wait_from_the_second_late_request_on(self, play: Callable[[Scenario], None]) -> None:
        async def scenario(bench: GuardBench) -> None:
            bench.record(answered(1.0), 10)
            bench.record(answered(51.0), 1)
            assert not bench.gate.read().held
            bench.record(answered(51.0), 1)
            assert bench.gate.read().held

        play(scenario)

    def test_candidates_wait_when_requests_begin_to_fail(self, play: Callable[[Scenario], None]) -> None:
        async def scenario(bench: GuardBench) -> None:
            bench.record(FAILED, 1)
            assert not bench.gate.read().held
            bench.record(FAILED, 1)
            assert bench.gate.read().held

        play(scenario)

    def test_slowness_of_a_throttled_device_is_not_the_fault_of_the_release(
        self, play: Callable[[Scenario], None]
    ) -> None:
        async def scenario(bench: GuardBench) -> None:
            bench.snapshot = replace(DEVICE, throttled=True)
            bench.record(answered(51.0), 20)
            bench.check()
            assert bench.active_release == 2

        play(scenario)

    def test_what_was_served_while_another_process_measures_does_not_count(
        self, play: Callable[[Scenario], None]
    ) -> None:
        async def scenario(bench: GuardBench) -> None:
            bench.record(answered(51.0), 20)
            bench.measuring = True
            bench.check()
            bench.measuring = False
            bench.check()
            assert bench.active_release == 2

        play(scenario)


class TestRetuning:
    def test_a_change_that_lasts_has_the_model_measured_again(self, play: Callable[[Scenario], None]) -> None:
        async def scenario(bench: GuardBench) -> None:
            bench.snapshot = replace(DEVICE, cores=2)
            bench.check()
            assert bench.tuned == []
            bench.check()
            await settle()
            # What is known of two cores is still valid.
            assert bench.tuned == [("digits", "usable cores 4 -> 2", False)]

        play(scenario)

    def test_served_latency_that_leaves_the_plan_is_measured_afresh(self, play: Callable[[Scenario], None]) -> None:
        async def scenario(bench: GuardBench) -> None:
            for _ in range(2):
                bench.record(answered(21.0), 20)
                bench.check()
            await settle()
            ((model, reason, fresh),) = bench.tuned
            assert (model, fresh) == ("digits", True)
            assert reason == "served latency has left the plan: 20 of 20 inferences took longer than 20.00 ms"

        play(scenario)

    def test_nothing_is_judged_while_a_model_is_measured_again(self, play: Callable[[Scenario], None]) -> None:
        async def scenario(bench: GuardBench) -> None:
            bench.snapshot = replace(DEVICE, cores=2)
            bench.check(2)
            await settle()
            bench.record(answered(51.0), 100)
            bench.check()
            assert bench.active_release == 2
            bench.tuning_ends.set()
            await settle()
            bench.check()
            assert bench.active_release == 2

        play(scenario)

    def test_a_device_that_alternates_between_two_changes_is_left_alone(self, play: Callable[[Scenario], None]) -> None:
        async def scenario(bench: GuardBench) -> None:
            for number in range(20):
                bench.snapshot = replace(DEVICE, cores=2 + number % 2)
                bench.check()
            await settle()
            assert bench.tuned == []

        play(scenario)

    def test_a_model_that_is_installed_again_is_not_measured_for_what_happened_before(
        self, play: Callable[[Scenario], None]
    ) -> None:
        async def scenario(bench: GuardBench) -> None:
            bench.record(answered(51.0), 100)
            bench.remove("digits")
            bench.check()
            bench.serve(make_activation(release=3))
            bench.check(3)
            await settle()
            assert bench.tuned == []

        play(scenario)


def test_the_end_of_the_guardian_cancels_what_is_measured(tmp_path: Path) -> None:
    async def run() -> None:
        bench = GuardBench(tmp_path, sections=SECTIONS)
        bench.serve(FIRST)
        bench.guardian.check(bench.fleet)
        bench.snapshot = replace(DEVICE, cores=2)
        bench.check(2)
        task = asyncio.create_task(bench.guardian.run(bench.fleet))
        await settle()
        tuning = bench.guardian._tuning
        assert tuning is not None
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert tuning.cancelled()

    asyncio.run(run())
