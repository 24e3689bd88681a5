"""Supervision of one worker process: start, jobs, time limits, and restart with backoff."""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass, replace
from typing import Protocol

from drupelet_agent.errors import WorkerError
from drupelet_agent.serving.clock import Clock, EventLoopClock
from drupelet_agent.serving.job import EXPIRED, Job, Outcome, StageTimes, refusal
from drupelet_agent.serving.workers.deadline import Deadline
from drupelet_agent.serving.workers.port import Spawn, Worker
from drupelet_agent.serving.workers.protocol import SLOTS, Failed, MemorySpent, Ready, Replied, WorkerSpec
from drupelet_agent.serving.workers.worker_process import WorkerProcess
from drupelet_shared.contract.wire import OK_CODE
from drupelet_shared.errors import ExpiredError, InferenceFailedError

log = logging.getLogger(__name__)

_START_TIMEOUT_S = 60.0
_FIRST_BACKOFF_S = 0.1
_LONGEST_BACKOFF_S = 30.0
_STUCK_S = 5.0


class Owner(Protocol):
    """The server whose jobs a supervisor runs."""

    def worker_ready(self) -> None:
        """Learn that the worker accepts jobs."""

    def worker_lost(self, error: str, *, unstarted: list[Job], crashes: int) -> None:
        """Receive the jobs of a worker that has ended.

        Args:
            error: How it ended.
            unstarted: The jobs that it had not begun, oldest first.
            crashes: How often a worker has crashed since the last reply; 0 if this was no crash.
        """

    def slot_freed(self) -> None:
        """Learn that a job is finished, so that another can be assigned."""


@dataclass(slots=True)
class _InFlight:
    slot: int
    job: Job


class Supervisor:
    """Keeps one worker process running; everything runs on the event loop.

    Invariants: each job that was assigned is finished once or given back to the owner. A worker handles its jobs in
        order, so at most the first can have made it crash. A worker that ran out of memory on a request does not count
        as a crash.
    """

    def __init__(
        self,
        spec: WorkerSpec,
        *,
        owner: Owner,
        inference_timeout_s: float,
        spawn: Spawn = WorkerProcess,
        clock: Clock | None = None,
    ) -> None:
        """Create a supervisor; `start` starts the worker.

        Args:
            spec: How the worker is started.
            owner: The server whose jobs it runs.
            inference_timeout_s: The longest time for one job; a worker that takes longer is ended.
            spawn: Starts a worker.
            clock: Time and timers; the event loop's if None.
        """
        self._spec = spec
        self._owner = owner
        self._inference_timeout_s = inference_timeout_s
        self._spawn = spawn
        self._clock = clock or EventLoopClock()
        self._worker: Worker | None = None
        self._ready = False
        self._crashes = 0
        self._in_flight: list[_InFlight] = []
        self._deadline = Deadline(self._clock)

    @property
    def pid(self) -> int | None:
        """The process id of the worker; None if none runs."""
        return self._worker.pid if self._worker else None

    @property
    def idle(self) -> bool:
        """Whether the worker has no job."""
        return not self._in_flight

    @property
    def load(self) -> int:
        """How many jobs the worker has."""
        return len(self._in_flight)

    @property
    def has_room(self) -> bool:
        """Whether a job can be assigned now."""
        return self._ready and len(self._in_flight) < SLOTS

    @property
    def stuck(self) -> bool:
        """Whether a hang, a late start or a due restart was not handled in time."""
        due_s = self._deadline.due_s
        if due_s is None:
            return bool(self._in_flight)
        return self._clock.now_s() > due_s + _STUCK_S

    def start(self) -> None:
        """Start the worker process; its owner learns when it is ready or lost."""
        try:
            self._worker = self._spawn(self._spec)
        except WorkerError as error:
            self._restart_later(str(error))
            return
        self._worker.watch(self._on_readable)
        self._deadline.set(_START_TIMEOUT_S, self._on_timeout)

    def stop(self) -> None:
        """End the worker; its jobs are answered with an error."""
        self._close_worker()
        for entry in self._take_in_flight():
            entry.job.finish(refusal(InferenceFailedError("the model was stopped while it processed this request")))

    def limit_memory(self, limit_bytes: int) -> None:
        """Limit the memory of the worker, and of those that replace it."""
        self._spec = replace(self._spec, memory_limit_bytes=limit_bytes)
        # A worker that is starting applies the limit of its spec by itself, and this one once it is ready.
        if self._worker is not None and self._ready:
            self._worker.limit_memory(self._spec)

    def assign(self, job: Job) -> None:
        """Send a job to the worker; only while `has_room`."""
        assert self._worker is not None
        slot = next(slot for slot in range(SLOTS) if slot not in {entry.slot for entry in self._in_flight})
        self._in_flight.append(_InFlight(slot=slot, job=job))
        if len(self._in_flight) == 1:
            self._deadline.set(self._inference_timeout_s, self._on_timeout)
        try:
            self._worker.send_request(
                job.payload,
                slot=slot,
                content_type=job.content_type,
                header_length=job.header_length,
                deadline_s=job.deadline_s,
            )
        except WorkerError as error:
            # The owner's dispatch loop called this, and must finish before the owner learns of the loss.
            self._ready = False
            reason = str(error)
            self._clock.call_at(self._clock.now_s(), lambda: self._crash(reason))

    def _on_readable(self) -> None:
        assert self._worker is not None
        try:
            message = self._worker.receive()
        except WorkerError as error:
            self._crash(str(error))
            return
        match message:
            case Ready():
                self._become_ready(message)
            case Replied():
                self._crashes = 0
                self._finish(message)
            case MemorySpent():
                self._replace()
            case Failed():
                self._crash(f"{message.message} [{message.code}]")
            case _:
                self._crash(f"worker sent {type(message).__name__} unasked")

    def _become_ready(self, message: Ready) -> None:
        log.info("worker ready variant=%s pid=%s load_ms=%.0f", self._spec.variant, self.pid, message.load_ms)
        self._ready = True
        self.limit_memory(self._spec.memory_limit_bytes)
        self._deadline.clear()
        self._owner.worker_ready()

    def _finish(self, reply: Replied) -> None:
        assert self._worker is not None
        index = next((index for index, entry in enumerate(self._in_flight) if entry.slot == reply.slot), None)
        if index is None:
            self._crash(f"worker answered slot {reply.slot}, which holds no request")
            return
        job = self._in_flight.pop(index).job
        if self._in_flight:
            self._deadline.set(self._inference_timeout_s, self._on_timeout)
        else:
            self._deadline.clear()
        payload = self._worker.payload_of(reply)
        # The next request goes to the worker before this reply goes out: the worker is the slower of the two.
        self._owner.slot_freed()
        job.finish(_outcome(job, reply, payload, now_s=self._clock.now_s()))

    def _on_timeout(self) -> None:
        action, limit_s = ("answer", self._inference_timeout_s) if self._ready else ("load", _START_TIMEOUT_S)
        self._crash(f"worker {self.pid} did not {action} within {limit_s} s")

    def _crash(self, error: str) -> None:
        if self._worker is None:
            return
        self._close_worker()
        self._restart_later(error)

    def _restart_later(self, error: str) -> None:
        self._crashes += 1
        backoff_s = min(_LONGEST_BACKOFF_S, _FIRST_BACKOFF_S * 2 ** (self._crashes - 1)) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
        log.warning(
            "worker lost variant=%s crashes=%d retry_s=%.1f: %s", self._spec.variant, self._crashes, backoff_s, error
        )
        self._deadline.set(backoff_s, self.start)
        entries = self._take_in_flight()
        self._owner.worker_lost(error, unstarted=[entry.job for entry in entries[1:]], crashes=self._crashes)
        if entries:
            entries[0].job.finish(refusal(InferenceFailedError(f"the worker failed on this request: {error}")))

    def _replace(self) -> None:
        """Start another worker in place of one that ran out of memory on a request, which is answered already."""
        error = f"worker {self.pid} ran out of memory on a request and is replaced"
        log.warning("worker replaced variant=%s: %s", self._spec.variant, error)
        self._close_worker()
        unstarted = [entry.job for entry in self._take_in_flight()]
        self._owner.worker_lost(error, unstarted=unstarted, crashes=0)
        self.start()

    def _close_worker(self) -> None:
        self._ready = False
        self._deadline.clear()
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def _take_in_flight(self) -> list[_InFlight]:
        entries, self._in_flight = self._in_flight, []
        return entries


def _outcome(job: Job, reply: Replied, payload: bytes, *, now_s: float) -> Outcome:
    if reply.code == ExpiredError.code:
        return EXPIRED
    times = StageTimes(
        queue_ms=max(0.0, reply.started_s - job.received_s) * 1e3,
        decode_ms=reply.decode_ms,
        inference_ms=reply.inference_ms,
        encode_ms=reply.encode_ms,
        total_ms=(now_s - job.received_s) * 1e3,
    )
    return Outcome(
        code=reply.code,
        payload=payload,
        content_type=reply.content_type,
        header_length=reply.header_length,
        times=times if reply.code == OK_CODE else None,
    )
