"""One active release at work: a bounded queue in front of its supervised workers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Literal

from drupelet_agent.serving.job import EXPIRED, Job, Outcome, refusal
from drupelet_agent.serving.memory_shares import MemoryShares
from drupelet_agent.serving.protocol import WorkerSpec
from drupelet_agent.serving.supervisor import Supervisor
from drupelet_agent.store.records import Activation
from drupelet_shared.errors import ModelUnavailableError, OverloadedError, PayloadSizeError

log = logging.getLogger(__name__)

Health = Literal["starting", "ready", "failed", "evicted"]

_DRAIN_S = 10.0
# A model whose workers die this often without one reply in between is not going to recover by waiting in line.
_DEATHS_TO_FAIL = 3


class ModelServer:
    """Takes jobs for one activation; everything runs on the event loop.

    Attributes:
        activation: The release and plan that it runs.
        health: What its workers are up to; `evicted` means that they have made room for another model's.
        error: What is wrong, in words.
        code: The error's code, where the model cannot answer.
        running: Whether its workers are kept alive, or will be as soon as there is room.
        last_used_s: When it last took a request or was started, on the monotonic clock.
    """

    def __init__(
        self,
        activation: Activation,
        spec: WorkerSpec,
        *,
        queue_length: int,
        inference_timeout_s: float,
        shares: MemoryShares,
        on_health: Callable[[ModelServer], None],
        on_outcome: Callable[[ModelServer, Outcome], None],
        on_wanted: Callable[[ModelServer], str | None],
    ) -> None:
        """Make the server; nothing runs yet.

        Args:
            activation: What it serves.
            spec: How each of its workers is started.
            queue_length: How many jobs may wait.
            inference_timeout_s: How long a worker may take for one job.
            shares: Says what its workers may allocate, from their start to their end.
            on_health: Told of each change of health.
            on_outcome: Told of each job's end.
            on_wanted: Told of a job for an evicted model; starts it, or says why that cannot be now.
        """
        self.activation = activation
        self.health: Health = "starting"
        self.error: str | None = None
        self.code: str | None = None
        self.running = False
        self.last_used_s = time.monotonic()
        self._payload_limit_bytes = spec.slot_bytes
        self._queue: deque[Job] = deque()
        self._queue_length = queue_length
        self._shares = shares
        self._on_health = on_health
        self._on_outcome = on_outcome
        self._on_wanted = on_wanted
        self._supervisors = [
            Supervisor(spec, owner=self, inference_timeout_s=inference_timeout_s)
            for _ in range(activation.plan.instances)
        ]

    @property
    def pids(self) -> tuple[int, ...]:
        """The process ids of the workers that run."""
        return tuple(supervisor.pid for supervisor in self._supervisors if supervisor.pid is not None)

    @property
    def stuck(self) -> bool:
        """Whether a worker is beyond its time and nothing was done about it."""
        return any(supervisor.stuck for supervisor in self._supervisors)

    @property
    def idle(self) -> bool:
        """Whether no job waits or is in work."""
        return not self._queue and all(supervisor.idle for supervisor in self._supervisors)

    @property
    def footprint_bytes(self) -> int:
        """What its workers together held at the most when they were measured."""
        return self.activation.plan.footprint_bytes

    def limit_memory(self, limit_bytes: int) -> None:
        """Let its workers together allocate so much from now on."""
        for supervisor in self._supervisors:
            supervisor.limit_memory(limit_bytes // len(self._supervisors))

    def start(self) -> None:
        """Start the workers; jobs may be submitted at once and wait for them."""
        self.reserve()
        self._shares.enter(self)
        for supervisor in self._supervisors:
            supervisor.start()

    def submit(self, job: Job) -> None:
        """Take a job, or refuse it at once if the model has failed, the queue is full or the payload too large."""
        job = self._counted(job)
        name = self.activation.model
        self.last_used_s = time.monotonic()
        if len(job.payload) > self._payload_limit_bytes:
            limit = self._payload_limit_bytes
            job.finish(refusal(PayloadSizeError(f"request has {len(job.payload)} bytes: the limit is {limit}")))
        elif self.health == "failed":
            job.finish(refusal(ModelUnavailableError(f"model {name!r} cannot run now: {self.error}")))
        elif self.health == "evicted" and (why_not := self._on_wanted(self)) is not None:
            job.finish(refusal(ModelUnavailableError(f"model {name!r} is evicted: {why_not}")))
        elif len(self._queue) >= self._queue_length:
            message = f"model {name!r}: {len(self._queue)} requests wait already, the limit is {self._queue_length}"
            job.finish(refusal(OverloadedError(message)))
        else:
            self._queue.append(job)
            self._dispatch()

    async def drain(self, *, timeout_s: float) -> None:
        """Wait until every accepted job is answered, for at most this long."""
        deadline = time.monotonic() + timeout_s
        # Only at shutdown and hot swap, so not worth an event of its own.
        while not self.idle and time.monotonic() < deadline:  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.01)

    def stop(self) -> None:
        """End the workers; jobs that are left are answered with an error."""
        self.running = False
        for supervisor in self._supervisors:
            supervisor.stop()
        self._shares.leave(self)
        self._refuse_queue("the model was stopped")

    def set_aside(self, health: Literal["failed", "evicted"], error: str, *, code: str) -> None:
        """Say that there is no room for the workers, before any is started."""
        self._become(health, error, code=code)

    def reserve(self) -> None:
        """Take jobs and count as in memory from now on; the workers are started as soon as there is room."""
        self.running = True
        self.last_used_s = time.monotonic()
        self._become("starting", None)

    async def evict(self, why: str) -> None:
        """Make room: take no more jobs, finish those there are, end the workers."""
        self._become("evicted", why, code=ModelUnavailableError.code)
        await self.drain(timeout_s=_DRAIN_S)
        self.stop()

    def worker_ready(self) -> None:
        """A worker can take jobs; see `Owner`."""
        if self.health != "evicted":
            self._become("ready", None)
        self._dispatch()

    def worker_lost(self, error: str, *, unstarted: list[Job], deaths: int) -> None:
        """A worker is gone; see `Owner`."""
        self._queue.extendleft(reversed(unstarted))
        if any(supervisor.has_room or not supervisor.idle for supervisor in self._supervisors):
            # The other workers take over what this one had not begun.
            self._dispatch()
            return
        if self.health == "evicted":
            return
        if deaths >= _DEATHS_TO_FAIL:
            self._become("failed", error, code=ModelUnavailableError.code)
            self._refuse_queue(f"cannot run now: {error}")
        elif self.health == "ready":
            self._become("starting", error)

    def room_made(self) -> None:
        """A worker finished a job; see `Owner`."""
        self._dispatch()

    def _dispatch(self) -> None:
        while self._queue:
            # The one with the least to do: a job handed to a busy worker waits even while another idles.
            able = [supervisor for supervisor in self._supervisors if supervisor.has_room]
            if not able:
                return
            job = self._queue.popleft()
            if job.deadline_s is not None and time.monotonic() > job.deadline_s:
                job.finish(EXPIRED)
            else:
                min(able, key=lambda supervisor: supervisor.load).assign(job)

    def _counted(self, job: Job) -> Job:
        def finish(outcome: Outcome) -> None:
            # The reply goes out first: counting can wait, and whoever asked does.
            job.finish(outcome)
            self._on_outcome(self, outcome)

        return Job(
            payload=job.payload,
            content_type=job.content_type,
            header_length=job.header_length,
            received_s=job.received_s,
            deadline_s=job.deadline_s,
            finish=finish,
        )

    def _refuse_queue(self, why: str) -> None:
        while self._queue:
            self._queue.popleft().finish(refusal(ModelUnavailableError(f"model {self.activation.model!r}: {why}")))

    def _become(self, health: Health, error: str | None, *, code: str | None = None) -> None:
        if (health, error) != (self.health, self.error):
            self.health, self.error, self.code = health, error, code
            log.info("model %s health=%s release=%d", self.activation.model, health, self.activation.release)
            self._on_health(self)
