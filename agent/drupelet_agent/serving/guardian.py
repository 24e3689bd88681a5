"""Looks at what was served and at the device, and acts: rolls a release back, or has a model measured again."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from dataclasses import dataclass, replace

from drupelet_agent.config.sections import AgentConfig
from drupelet_agent.device import probe
from drupelet_agent.device.snapshot import Snapshot
from drupelet_agent.planning import budget, retune
from drupelet_agent.planning.contract import Limits
from drupelet_agent.planning.retune import Conditions, History, Policy
from drupelet_agent.serving.fleet import Fleet
from drupelet_agent.serving.job import Outcome
from drupelet_agent.serving.served_counts import Watch
from drupelet_agent.serving.server import ModelServer
from drupelet_agent.store.records import Activation
from drupelet_agent.store.store import Store

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Watched:
    """One activation under observation; without a history until the first look."""

    activation: Activation
    watch: Watch
    history: History | None = None
    conditions: Conditions | None = None


class Guardian:
    """Everything runs on the event loop; measuring is a process of its own."""

    def __init__(self, config: AgentConfig, store: Store) -> None:
        self._config = config
        self._store = store
        self._policy = Policy(confirm=config.retune.confirm, min_interval_s=config.retune.min_interval_s)
        self._watched: dict[str, _Watched] = {}
        self._tuning: asyncio.Task[None] | None = None

    def record(self, server: ModelServer, outcome: Outcome) -> None:
        """Count the end of one request."""
        self._observe(server).watch.record(outcome)

    async def run(self, fleet: Fleet) -> None:
        """Look again and again until cancelled."""
        try:
            while True:
                await asyncio.sleep(self._config.retune.look_s)
                self.look(fleet)
        finally:
            if self._tuning is not None:
                self._tuning.cancel()
                await asyncio.gather(self._tuning, return_exceptions=True)

    def look(self, fleet: Fleet) -> None:
        """Judge each model that serves."""
        if self._tuning is not None or self._store.is_measuring():
            # Whatever is slow now may be slow because of that.
            for watched in self._watched.values():
                watched.watch.forget()
            return
        snapshot, capacity = probe.take_snapshot(), fleet.capacity()
        for model, server in fleet.serving.items():
            if server.health == "ready":
                others = [other for other in fleet.serving if other != model]
                self._judge(fleet, server, snapshot)
                self._consider_tuning(server, snapshot, memory_bytes=capacity.limit_bytes, others=others)

    def _observe(self, server: ModelServer) -> _Watched:
        activation = server.activation
        watched = self._watched.get(activation.model)
        if watched is None or watched.activation is not activation:
            history = watched.history if watched is not None else None
            watched = self._watched[activation.model] = _Watched(activation, self._make_watch(activation), history)
        return watched

    def _make_watch(self, activation: Activation) -> Watch:
        contract, planned_ms = self._config.contract_of(activation.model), activation.plan.p99_ms
        return Watch(
            Limits(
                p99_ms=contract.p99_limit_ms(planned_ms),
                error_rate=contract.error_rate,
                window_s=contract.window_s,
                min_requests=contract.min_requests,
            ),
            planned_p99_ms=planned_ms,
            drift_factor=self._config.retune.drift_factor,
        )

    def _judge(self, fleet: Fleet, server: ModelServer, snapshot: Snapshot) -> None:
        judgement = self._observe(server).watch.judge(throttled=bool(snapshot.throttled))
        if judgement is None:
            return
        if judgement.broken is None:
            fleet.note(server, None)
        else:
            fleet.roll_back(server, f"which broke its contract: {judgement.broken}")

    def _consider_tuning(
        self, server: ModelServer, snapshot: Snapshot, *, memory_bytes: int, others: list[str]
    ) -> None:
        watched, model, plan = self._observe(server), server.activation.model, server.activation.plan
        cores = budget.core_share(
            snapshot,
            limit=self._config.limits.cpu_cores,
            others=others,
            policy=self._config.tuning_of(model).cores,
        )
        now = retune.conditions(snapshot, cores=cores.count, memory_bytes=memory_bytes, before=watched.conditions)
        if watched.conditions is None:
            # A plan that is new to this process was made for its cores and, as far as is known, for all else as now.
            planned = replace(now, cores=plan.cores or now.cores)
            watched.history = replace(watched.history or History(planned), planned=planned)
        watched.conditions = now
        assert watched.history is not None
        before = watched.history.planned
        watched.history, why = retune.look(
            watched.history, now, drift=watched.watch.drift(), now_s=time.monotonic(), policy=self._policy
        )
        if why is not None and self._config.retune.enabled and self._tuning is None:
            # What is known of other cores still holds; of the same cores it no longer does.
            is_known = (before.cores, before.cpu_quota) != (now.cores, now.cpu_quota)
            self._tuning = asyncio.create_task(self._tune(model, why, fresh=not is_known))

    async def _tune(self, model: str, why: str, *, fresh: bool) -> None:
        log.info("tune model=%s fresh=%s: %s", model, fresh, why)
        words = [sys.executable, "-P", "-m", "drupelet_agent.app.retuning", model, why, *(["--fresh"] if fresh else [])]
        try:
            process = await asyncio.create_subprocess_exec(
                *words, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL
            )
            try:
                await process.communicate(self._config.model_dump_json().encode())
            except asyncio.CancelledError:
                process.kill()
                await process.wait()
                raise
            if process.returncode:
                log.warning("tune model=%s failed, the plan stays as it is", model)
        finally:
            self._tuning = None
