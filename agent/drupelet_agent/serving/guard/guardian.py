"""The guardian: compares what was served with contract and plan, rolls back or has a model measured again."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from drupelet_agent.config.agent import AgentConfig
from drupelet_agent.device import probe
from drupelet_agent.device.snapshot import Snapshot
from drupelet_agent.planning import budget, retune
from drupelet_agent.planning.budget import Budget
from drupelet_agent.planning.contract import ContractLimits
from drupelet_agent.planning.retune import Conditions, RetuneHistory, RetunePolicy
from drupelet_agent.rounds import Rounds
from drupelet_agent.serving.clock import Clock, EventLoopClock
from drupelet_agent.serving.guard.retune_process import retune_in_process
from drupelet_agent.serving.guard.served_counts import ServedCounts
from drupelet_agent.serving.job import Outcome
from drupelet_agent.serving.server import ModelServer
from drupelet_agent.serving.slot import ModelSlot
from drupelet_agent.store.records import Activation

log = logging.getLogger(__name__)


# How long nothing is measured beside a model whose contract is at risk, from the last request that was late.
_HOLD_S = 10.0


class MeasuringGate(Protocol):
    """What measures candidates beside the models that serve; `measuring.gate.ServingGate` implements it."""

    def hold(self, seconds: float) -> None:
        """Let nothing be measured for that long."""

    def measured_within(self, seconds: float) -> bool:
        """Return whether something was measured in the last so many seconds."""


class GuardedFleet(Protocol):
    """The models that are guarded."""

    @property
    def slots(self) -> Mapping[str, ModelSlot]:
        """The slot of each active model, by name."""

    def capacity(self) -> Budget:
        """Return the memory for all models together."""

    def roll_back(self, slot: ModelSlot, reason: str) -> None:
        """Go back to the release before the active one."""


class Retune(Protocol):
    """Measures a model again."""

    def __call__(self, model: str, reason: str, *, fresh: bool) -> Coroutine[None, None, None]:
        """Measure a model again; with `fresh` also what is known of these conditions."""


@dataclass(slots=True)
class _Guarded:
    """One activation under observation; it has no history before the first check."""

    activation: Activation
    counts: ServedCounts
    history: RetuneHistory | None = None
    conditions: Conditions | None = None


class Guardian:
    """Guards every model that serves; everything runs on the event loop.

    Invariants: at most one model is measured at a time. What was served while anything was measured counts for nothing.
    """

    def __init__(
        self,
        config: AgentConfig,
        is_measuring: Callable[[], bool],
        *,
        gate: MeasuringGate,
        tune: Retune | None = None,
        clock: Clock | None = None,
        read_snapshot: Callable[[], Snapshot] = probe.take_snapshot,
    ) -> None:
        """Create a guardian.

        Args:
            config: The agent's configuration.
            is_measuring: Returns whether some process measures on this device now.
            gate: What measures candidates.
            tune: Measures a model again; in a process of its own if None.
            clock: The time; the event loop's if None.
            read_snapshot: Reads the device's resources.
        """
        self._config = config
        self._is_measuring = is_measuring
        self._gate = gate
        self._tune = tune or functools.partial(retune_in_process, config=config)
        self._clock = clock or EventLoopClock()
        self._read_snapshot = read_snapshot
        self._policy = RetunePolicy(confirm=config.retune.confirm, min_interval_s=config.retune.min_interval_s)
        self._guarded: dict[str, _Guarded] = {}
        self._tuning: asyncio.Task[None] | None = None

    def record(self, server: ModelServer, outcome: Outcome) -> None:
        """Count the end of one request."""
        counts = self._observe(server.activation).counts
        counts.record(outcome)
        if counts.is_at_risk:
            self._gate.hold(_HOLD_S)

    async def run(self, fleet: GuardedFleet) -> None:
        """Check the models at each interval until cancelled."""
        rounds = Rounds("guarding the models")
        try:
            while True:
                await asyncio.sleep(self._config.retune.look_s)
                with rounds.guarded():
                    self.check(fleet)
        finally:
            if self._tuning is not None:
                self._tuning.cancel()
                await asyncio.gather(self._tuning, return_exceptions=True)

    def check(self, fleet: GuardedFleet) -> None:
        """Compare each model that serves with its contract and its plan, and act."""
        if self._tuning is not None or self._is_measuring():
            # Measuring makes everything else slower.
            for guarded in self._guarded.values():
                guarded.counts.reset()
            return
        self._guarded = {model: guarded for model, guarded in self._guarded.items() if model in fleet.slots}
        snapshot, capacity = self._read_snapshot(), fleet.capacity()
        for model, slot in list(fleet.slots.items()):
            if slot.current.health in {"ready", "starting"}:
                # A release whose every request costs a worker is starting most of the time.
                self._check_contract(fleet, slot, snapshot)
            if slot.current.health == "ready":
                others = [other for other in fleet.slots if other != model]
                self._check_plan(slot.current.activation, snapshot, memory_bytes=capacity.limit_bytes, others=others)

    def _observe(self, activation: Activation) -> _Guarded:
        guarded = self._guarded.get(activation.model)
        if guarded is None or guarded.activation is not activation:
            history = guarded.history if guarded is not None else None
            guarded = self._guarded[activation.model] = _Guarded(activation, self._make_counts(activation), history)
        return guarded

    def _make_counts(self, activation: Activation) -> ServedCounts:
        contract, planned_ms = self._config.contract_of(activation.model), activation.plan.p99_ms
        limits = ContractLimits(
            p99_ms=contract.p99_limit_ms(planned_ms),
            error_rate=contract.error_rate,
            window_s=contract.window_s,
            min_requests=contract.min_requests,
        )
        factor = self._config.retune.drift_factor
        return ServedCounts(limits, planned_p99_ms=planned_ms, drift_factor=factor, clock=self._clock)

    def _check_contract(self, fleet: GuardedFleet, slot: ModelSlot, snapshot: Snapshot) -> None:
        guarded = self._observe(slot.current.activation)
        # While candidates were measured beside it, slowness says as little about the release as while throttled.
        is_slowed = bool(snapshot.throttled) or self._gate.measured_within(guarded.counts.window_s)
        result = guarded.counts.end_contract_window(throttled=is_slowed)
        if result is None:
            return
        if result.violation is None:
            slot.set_note(None)
        else:
            fleet.roll_back(slot, f"which broke its contract: {result.violation}")

    def _check_plan(self, activation: Activation, snapshot: Snapshot, *, memory_bytes: int, others: list[str]) -> None:
        guarded, model, plan = self._observe(activation), activation.model, activation.plan
        cores = budget.core_share(
            snapshot,
            limit=self._config.limits.cpu_cores,
            others=others,
            policy=self._config.tuning_of(model).cores,
        )
        now = retune.conditions_of(snapshot, cores=cores.count, memory_bytes=memory_bytes, before=guarded.conditions)
        if guarded.conditions is None:
            # A plan that is new to this process was made for its cores and, as far as is known, for the present
            # conditions.
            planned = replace(now, cores=plan.cores or now.cores)
            guarded.history = replace(guarded.history or RetuneHistory(planned), planned=planned)
        guarded.conditions = now
        assert guarded.history is not None
        before = guarded.history.planned
        if self._gate.measured_within(guarded.counts.window_s):
            guarded.counts.reset_drift()
        drift = guarded.counts.drift()
        guarded.history, reason = retune.assess(
            guarded.history, now, drift=drift, now_s=self._clock.now_s(), policy=self._policy
        )
        if reason is not None and self._config.retune.enabled and self._tuning is None:
            # Measurements for other cores are still valid; those for the same cores no longer are.
            is_known = (before.cores, before.cpu_quota) != (now.cores, now.cpu_quota)
            self._tuning = asyncio.create_task(self._retune(model, reason, fresh=not is_known))

    async def _retune(self, model: str, reason: str, *, fresh: bool) -> None:
        log.info("tune model=%s fresh=%s: %s", model, fresh, reason)
        try:
            await self._tune(model, reason, fresh=fresh)
        finally:
            self._tuning = None
