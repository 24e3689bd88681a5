"""Keeps one worker process alive: starts it, hands it jobs, notices death and hangs, restarts it with backoff."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from drupelet_agent.errors import WorkerError
from drupelet_agent.serving.job import EXPIRED, Job, Outcome, StageTimes, refusal
from drupelet_agent.serving.protocol import SLOTS, Failed, MemorySpent, Ready, Replied, WorkerSpec
from drupelet_agent.serving.worker_process import WorkerProcess
from drupelet_shared.contract.wire import OK_CODE
from drupelet_shared.errors import ExpiredError, InferenceFailedError

log = logging.getLogger(__name__)

_START_TIMEOUT_S = 60.0
_FIRST_BACKOFF_S = 0.1
_LONGEST_BACKOFF_S = 30.0
_STUCK_S = 5.0


class Owner(Protocol):
    """Whom a supervisor serves."""

    def worker_ready(self) -> None:
        """The worker can take jobs."""

    def worker_lost(self, error: str, *, unstarted: list[Job], deaths: int) -> None:
        """The worker is gone; `unstarted` jobs were never begun, `deaths` counts those since the last reply."""

    def room_made(self) -> None:
        """A job was finished, so another can be assigned."""


@dataclass(slots=True)
class _InFlight:
    slot: int
    job: Job


class Supervisor:
    """One worker's life; everything runs on the event loop."""

    def __init__(
        self,
        spec: WorkerSpec,
        *,
        owner: Owner,
        inference_timeout_s: float,
        spawn: Callable[[WorkerSpec], WorkerProcess] = WorkerProcess,
    ) -> None:
        self._spec = spec
        self._owner = owner
        self._inference_timeout_s = inference_timeout_s
        self._spawn = spawn
        self._loop = asyncio.get_running_loop()
        self._worker: WorkerProcess | None = None
        self._ready = False
        self._deaths = 0
        self._in_flight: list[_InFlight] = []
        self._due_s: float | None = None
        self._when_due: Callable[[], None] = self._on_hang
        self._timer: asyncio.TimerHandle | None = None

    @property
    def pid(self) -> int | None:
        """The worker's process id, while there is one."""
        return self._worker.pid if self._worker else None

    @property
    def idle(self) -> bool:
        """Whether no job is with the worker."""
        return not self._in_flight

    @property
    def load(self) -> int:
        """How many jobs are with the worker."""
        return len(self._in_flight)

    @property
    def has_room(self) -> bool:
        """Whether a job can be assigned now."""
        return self._ready and len(self._in_flight) < SLOTS

    @property
    def stuck(self) -> bool:
        """Whether a hang, a late start or a restart that is due was not noticed."""
        if self._due_s is None:
            return bool(self._in_flight)
        return self._loop.time() > self._due_s + _STUCK_S

    def start(self) -> None:
        """Start the worker process; its owner hears when it is ready or lost."""
        self._worker = self._spawn(self._spec)
        self._loop.add_reader(self._worker.fileno(), self._on_packet)
        self._set_timer(_START_TIMEOUT_S, self._on_hang)

    def stop(self) -> None:
        """End the worker; jobs still with it are answered with an error."""
        self._let_go()
        for entry in self._take_in_flight():
            entry.job.finish(refusal(InferenceFailedError("the model was stopped while this request was in work")))

    def limit_memory(self, limit_bytes: int) -> None:
        """Let the worker allocate so much from now on."""
        self._spec = replace(self._spec, memory_limit_bytes=limit_bytes)
        # One that is starting sets the limit it was started with; then it gets this one.
        if self._worker is not None and self._ready:
            self._worker.limit_memory(self._spec)

    def assign(self, job: Job) -> None:
        """Hand a job to the worker; only while `has_room`."""
        assert self._worker is not None
        slot = next(slot for slot in range(SLOTS) if slot not in {entry.slot for entry in self._in_flight})
        self._in_flight.append(_InFlight(slot=slot, job=job))
        if len(self._in_flight) == 1:
            self._set_timer(self._inference_timeout_s, self._on_hang)
        try:
            self._worker.ask(
                job.payload,
                slot=slot,
                content_type=job.content_type,
                header_length=job.header_length,
                deadline_s=job.deadline_s,
            )
        except WorkerError as error:
            # Called from the owner's dispatch loop: let that finish before the owner hears of the loss.
            self._ready = False
            self._loop.call_soon(self._lose, str(error))

    def _on_packet(self) -> None:
        assert self._worker is not None
        try:
            message = self._worker.receive()
        except WorkerError as error:
            self._lose(str(error))
            return
        match message:
            case Ready():
                self._become_ready(message)
            case Replied():
                self._deaths = 0
                self._finish(message)
            case MemorySpent():
                self._renew()
            case Failed():
                self._lose(f"{message.message} [{message.code}]")
            case _:
                self._lose(f"worker answered {type(message).__name__} unasked")

    def _become_ready(self, message: Ready) -> None:
        log.info("worker ready variant=%s pid=%s load_ms=%.0f", self._spec.variant, self.pid, message.load_ms)
        self._ready = True
        self.limit_memory(self._spec.memory_limit_bytes)
        self._set_timer(None, self._on_hang)
        self._owner.worker_ready()

    def _finish(self, reply: Replied) -> None:
        assert self._worker is not None
        index = next((index for index, entry in enumerate(self._in_flight) if entry.slot == reply.slot), None)
        if index is None:
            self._lose(f"worker answered slot {reply.slot}, which holds no request")
            return
        job = self._in_flight.pop(index).job
        self._set_timer(self._inference_timeout_s if self._in_flight else None, self._on_hang)
        payload = self._worker.payload_of(reply)
        # The next request goes to the worker before this reply goes out: the worker is the slower of the two.
        self._owner.room_made()
        job.finish(_outcome(job, reply, payload))

    def _on_hang(self) -> None:
        doing = "answer" if self._ready else "load"
        limit_s = self._inference_timeout_s if self._ready else _START_TIMEOUT_S
        self._lose(f"worker {self.pid} did not {doing} within {limit_s} s")

    def _lose(self, error: str) -> None:
        if self._worker is None:
            return
        self._let_go()
        self._deaths += 1
        backoff_s = min(_LONGEST_BACKOFF_S, _FIRST_BACKOFF_S * 2 ** (self._deaths - 1)) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
        log.warning(
            "worker lost variant=%s deaths=%d retry_s=%.1f: %s", self._spec.variant, self._deaths, backoff_s, error
        )
        self._set_timer(backoff_s, self.start)
        entries = self._take_in_flight()
        # A worker takes its jobs in order, so only the first can have been its end.
        self._owner.worker_lost(error, unstarted=[entry.job for entry in entries[1:]], deaths=self._deaths)
        if entries:
            entries[0].job.finish(refusal(InferenceFailedError(f"the worker failed on this request: {error}")))

    def _renew(self) -> None:
        """Start another worker in the place of one that ran out of memory; the request's doing is no death."""
        error = f"worker {self.pid} ran out of memory on a request and is replaced"
        log.warning("worker replaced variant=%s: %s", self._spec.variant, error)
        self._let_go()
        # It has not looked at what else was handed to it.
        unstarted = [entry.job for entry in self._take_in_flight()]
        self._owner.worker_lost(error, unstarted=unstarted, deaths=0)
        self.start()

    def _let_go(self) -> None:
        self._ready = False
        self._set_timer(None, self._on_hang)
        if self._worker is not None:
            self._loop.remove_reader(self._worker.fileno())
            self._worker.close()
            self._worker = None

    def _take_in_flight(self) -> list[_InFlight]:
        entries, self._in_flight = self._in_flight, []
        return entries

    def _set_timer(self, delay_s: float | None, action: Callable[[], None]) -> None:
        self._when_due = action
        self._due_s = None if delay_s is None else self._loop.time() + delay_s
        # Each request moves what is due further away: one timer that looks again is cheaper than one for each.
        if self._due_s is not None and (self._timer is None or self._timer.when() > self._due_s):
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(self._due_s, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._due_s is None:
            return
        if self._loop.time() < self._due_s:
            self._timer = self._loop.call_at(self._due_s, self._look)
        else:
            self._due_s = None
            self._when_due()


def _outcome(job: Job, reply: Replied, payload: bytes) -> Outcome:
    if reply.code == ExpiredError.code:
        return EXPIRED
    times = StageTimes(
        queue_ms=max(0.0, reply.started_s - job.received_s) * 1e3,
        decode_ms=reply.decode_ms,
        inference_ms=reply.inference_ms,
        encode_ms=reply.encode_ms,
        total_ms=(time.monotonic() - job.received_s) * 1e3,
    )
    return Outcome(
        code=reply.code,
        payload=payload,
        content_type=reply.content_type,
        header_length=reply.header_length,
        times=times if reply.code == OK_CODE else None,
    )
