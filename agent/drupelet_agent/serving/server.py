"""One release at work: a bounded queue in front of its supervised workers."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from drupelet_agent.serving.clock import Clock
from drupelet_agent.serving.job import EXPIRED, Job, Outcome, refusal
from drupelet_agent.serving.memory_shares import MemoryShares
from drupelet_agent.serving.workers.port import Spawn
from drupelet_agent.serving.workers.protocol import WorkerSpec
from drupelet_agent.serving.workers.supervisor import Supervisor
from drupelet_agent.store.records import Activation
from drupelet_shared.errors import ModelUnavailableError, OverloadedError, PayloadSizeError, RequestError
from drupelet_shared.units import format_bytes

log = logging.getLogger(__name__)

Health = Literal["starting", "ready", "failed", "evicted"]

_DRAIN_S = 10.0
# A model whose workers crash this often without one reply in between does not recover by waiting.
_CRASHES_TO_FAIL = 3


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """How much may wait, and for how long a worker may compute.

    Attributes:
        length: The most jobs that wait for one model.
        payload_bytes: The most bytes of one model's requests, waiting or being processed.
        inference_timeout_s: The longest time of a worker for one job.
    """

    length: int
    payload_bytes: int
    inference_timeout_s: float


def ignore() -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True)
class ServerEvents:
    """Whom a server informs.

    Attributes:
        on_health: Called at each change of health.
        on_outcome: Called at the end of each job.
        wake: Called for a job of an evicted model; starts the model, or returns why it cannot start now.
        on_accepted: Called when a job is accepted, before its worker has it.
        on_finished: Called when a job that was accepted has ended.
    """

    on_health: Callable[[ModelServer], None]
    on_outcome: Callable[[ModelServer, Outcome], None]
    wake: Callable[[ModelServer], str | None]
    on_accepted: Callable[[], None] = ignore
    on_finished: Callable[[], None] = ignore


class ModelServer:
    """Runs the jobs of one activation; everything runs on the event loop.

    Invariants: each job that is submitted has one outcome. Jobs start in the order in which they were submitted, those
        of a lost worker included.

    Attributes:
        activation: The release and plan that it runs.
        health: The state of its workers; `evicted` means that they were ended to make room for another model.
        error: What is wrong, in words.
        code: The error's code, if the model cannot answer.
        running: Whether its workers are kept alive, or will be as soon as there is room.
        last_used_s: When it last accepted a job or was started, on the clock.
    """

    def __init__(
        self,
        activation: Activation,
        spec: WorkerSpec,
        *,
        limits: QueueLimits,
        shares: MemoryShares,
        events: ServerEvents,
        spawn: Spawn,
        clock: Clock,
    ) -> None:
        """Create a server; `start` starts its workers.

        Args:
            activation: The release and plan that it runs.
            spec: How each of its workers is started.
            limits: How much may wait, and for how long a worker may compute.
            shares: Divides memory among the models whose workers run.
            events: Whom it informs.
            spawn: Starts a worker.
            clock: Time and timers.
        """
        self.activation = activation
        self.health: Health = "starting"
        self.error: str | None = None
        self.code: str | None = None
        self.running = False
        self.last_used_s = clock.now_s()
        self._payload_limit_bytes = spec.slot_bytes
        self._queue: deque[Job] = deque()
        self._queued_bytes = 0
        self._limits = limits
        self._shares = shares
        self._events = events
        self._clock = clock
        self._idle_waiters: list[asyncio.Future[None]] = []
        self._supervisors = [
            Supervisor(spec, owner=self, inference_timeout_s=limits.inference_timeout_s, spawn=spawn, clock=clock)
            for _ in range(activation.plan.instances)
        ]

    @property
    def pids(self) -> tuple[int, ...]:
        """The process ids of the workers that run."""
        return tuple(supervisor.pid for supervisor in self._supervisors if supervisor.pid is not None)

    @property
    def stuck(self) -> bool:
        """Whether a worker has exceeded its time and was not ended."""
        return any(supervisor.stuck for supervisor in self._supervisors)

    @property
    def idle(self) -> bool:
        """Whether no job waits or is processed."""
        return not self._queue and all(supervisor.idle for supervisor in self._supervisors)

    @property
    def queued_bytes(self) -> int:
        """The payload bytes of the jobs that wait or are processed."""
        return self._queued_bytes

    @property
    def footprint_bytes(self) -> int:
        """The most memory that all its workers together held when they were measured."""
        return self.activation.plan.footprint_bytes

    def limit_memory(self, limit_bytes: int) -> None:
        """Limit the memory of all its workers together."""
        for supervisor in self._supervisors:
            supervisor.limit_memory(limit_bytes // len(self._supervisors))

    def start(self) -> None:
        """Start the workers; jobs may be submitted at once and wait for them."""
        self.reserve()
        self._shares.enter(self)
        for supervisor in self._supervisors:
            supervisor.start()

    def submit(self, job: Job) -> None:
        """Accept a job, or refuse it at once if it is too large, too much waits, or the model cannot run."""
        self.last_used_s = self._clock.now_s()
        error = self._refusal_of(job)
        if error is not None:
            outcome = refusal(error)
            job.finish(outcome)
            self._events.on_outcome(self, outcome)
            return
        self._queue.append(self._accepted(job))
        self._dispatch()

    async def drain(self, *, timeout_s: float) -> None:
        """Wait until every accepted job is answered, for at most this long."""
        if self.idle:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._idle_waiters.append(waiter)
        await asyncio.wait([waiter], timeout=timeout_s)

    def stop(self) -> None:
        """End the workers; jobs that are left are answered with an error."""
        self.running = False
        for supervisor in self._supervisors:
            supervisor.stop()
        self._shares.leave(self)
        self._refuse_queue("the model was stopped")

    def refuse_start(self, health: Literal["failed", "evicted"], error: str, *, code: str) -> None:
        """Record that there is no room for the workers.

        Args:
            health: `evicted` if a later request may start them, `failed` if it may not.
            error: Why there is no room.
            code: The code of that error.
        """
        self._become(health, error, code=code)

    def reserve(self) -> None:
        """Accept jobs and count as in memory from now on; the workers are started as soon as there is room."""
        self.running = True
        self.last_used_s = self._clock.now_s()
        self._become("starting", None)

    async def evict(self, reason: str) -> None:
        """Accept no more jobs, finish those that were accepted, and end the workers."""
        self._become("evicted", reason, code=ModelUnavailableError.code)
        await self.drain(timeout_s=_DRAIN_S)
        self.stop()

    def worker_ready(self) -> None:
        """Assign jobs to a worker that is ready; see `Owner`."""
        if self.health != "evicted":
            self._become("ready", None)
        self._dispatch()

    def worker_lost(self, error: str, *, unstarted: list[Job], crashes: int) -> None:
        """Queue the jobs that a lost worker had not begun, and fail the model after several crashes; see `Owner`.

        Args:
            error: How the worker ended.
            unstarted: The jobs that it had not begun, oldest first.
            crashes: How often a worker has crashed since the last reply; 0 if this was no crash.
        """
        self._queue.extendleft(reversed(unstarted))
        if any(supervisor.has_room or not supervisor.idle for supervisor in self._supervisors):
            # The other workers take over the jobs that this one had not begun.
            self._dispatch()
            return
        if self.health == "evicted":
            return
        if crashes >= _CRASHES_TO_FAIL:
            self._become("failed", error, code=ModelUnavailableError.code)
            self._refuse_queue(f"cannot run now: {error}")
        elif self.health == "ready":
            self._become("starting", error)

    def slot_freed(self) -> None:
        """Assign the next job; see `Owner`."""
        self._dispatch()

    def _refusal_of(self, job: Job) -> RequestError | None:
        """Return why a job is refused; None if it is accepted."""
        name, size = self.activation.model, len(job.payload)
        if size > self._payload_limit_bytes:
            return PayloadSizeError(f"request has {size} bytes: the limit is {self._payload_limit_bytes}")
        if self.health == "failed":
            return ModelUnavailableError(f"model {name!r} cannot run now: {self.error}")
        if self.health == "evicted" and (reason := self._events.wake(self)) is not None:
            return ModelUnavailableError(f"model {name!r} is evicted: {reason}")
        if len(self._queue) >= self._limits.length:
            return OverloadedError(
                f"model {name!r}: {len(self._queue)} requests wait already, the limit is {self._limits.length}"
            )
        if self._queued_bytes and self._queued_bytes + size > self._limits.payload_bytes:
            return OverloadedError(
                f"model {name!r}: requests with {format_bytes(self._queued_bytes)} wait already, "
                f"the limit is {format_bytes(self._limits.payload_bytes)}"
            )
        return None

    def _accepted(self, job: Job) -> Job:
        """Return a job that is counted, and no longer counts as waiting when it is finished."""
        size = len(job.payload)
        self._queued_bytes += size
        self._events.on_accepted()

        def finish(outcome: Outcome) -> None:
            self._queued_bytes -= size
            # The reply goes out first, as the client waits for it and the counts do not matter to it.
            job.finish(outcome)
            self._events.on_finished()
            self._events.on_outcome(self, outcome)
            self._wake_waiters()

        return Job(
            payload=job.payload,
            content_type=job.content_type,
            header_length=job.header_length,
            received_s=job.received_s,
            deadline_s=job.deadline_s,
            finish=finish,
        )

    def _dispatch(self) -> None:
        while self._queue:
            able = [supervisor for supervisor in self._supervisors if supervisor.has_room]
            if not able:
                return
            job = self._queue.popleft()
            if job.deadline_s is not None and self._clock.now_s() > job.deadline_s:
                job.finish(EXPIRED)
            else:
                # The least loaded one: a job that a busy worker holds waits even while another worker idles.
                min(able, key=lambda supervisor: supervisor.load).assign(job)

    def _refuse_queue(self, reason: str) -> None:
        while self._queue:
            self._queue.popleft().finish(refusal(ModelUnavailableError(f"model {self.activation.model!r}: {reason}")))

    def _wake_waiters(self) -> None:
        if self._idle_waiters and self.idle:
            waiters, self._idle_waiters = self._idle_waiters, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)

    def _become(self, health: Health, error: str | None, *, code: str | None = None) -> None:
        if (health, error) != (self.health, self.error):
            self.health, self.error, self.code = health, error, code
            log.info("model %s health=%s release=%d", self.activation.model, health, self.activation.release)
            self._events.on_health(self)
