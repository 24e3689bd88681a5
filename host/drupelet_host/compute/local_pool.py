"""Computes tasks in worker processes on this machine."""

from __future__ import annotations

import hashlib
import logging
import tempfile
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from drupelet_host.compute.backend import OnDone, Shared, Task
from drupelet_host.compute.execution import Outcome, call, decode_outcome, encode, find_shared
from drupelet_host.compute.worker_process import READY, WorkerProcess
from drupelet_host.errors import ComputeError

log = logging.getLogger(__name__)

_MAX_REMEMBERED = 16


@dataclass(slots=True)
class _Submission:
    task: Task
    deaths: int = 0
    outcome: Outcome | None = None


class LocalPool:
    """Worker processes that start when the first task is gathered and end with the pool.

    A worker that dies costs its task, which runs again in another one. A task that cannot be pickled, or that a worker
    cannot unpickle, runs in this process: its result is the same.

    Args:
        workers: The number of processes.
        retries: How often a task runs again whose worker died.
        threads: The threads of a task that does not state them.
        on_notice: Receives a sentence on what a person should know.
    """

    def __init__(
        self, workers: int, *, retries: int, threads: int = 1, on_notice: Callable[[str], None] = log.info
    ) -> None:
        self.workers = workers
        self.threads = threads
        self._retries = retries
        self._on_notice = on_notice
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._processes: list[WorkerProcess] = []
        self._submissions: dict[int, _Submission] = {}
        self._submitted = 0
        self._waiting: deque[int] = deque()
        self._failed_starts = 0
        self._told: set[str] = set()
        # By the identity of the value, which it keeps alive: the data of a compile is pickled once, not at each step.
        self._remembered: OrderedDict[int, Shared] = OrderedDict()

    @property
    def process_ids(self) -> tuple[int, ...]:
        """The worker processes."""
        return tuple(process.process_id for process in self._processes)

    def share(self, value: object) -> Shared:
        """Return a reference to the value, which is written to a file once; see `ComputeBackend.share`."""
        known = self._remembered.get(id(value))
        if known is None:
            known = self._write(value)
            self._remembered[id(value)] = known
        self._remembered.move_to_end(id(value))
        while len(self._remembered) > _MAX_REMEMBERED:
            self._remembered.popitem(last=False)
        return known

    def submit(self, task: Task) -> int:
        """Accept a task; see `ComputeBackend.submit`."""
        self._submitted += 1
        self._submissions[self._submitted] = _Submission(replace(task, threads=task.threads or self.threads))
        self._waiting.append(self._submitted)
        return self._submitted

    def gather(self, numbers: Sequence[int], *, on_done: OnDone | None = None) -> list[Any]:
        """Wait for tasks; see `ComputeBackend.gather`."""
        try:
            results = self._gather(numbers, on_done)
        except BaseException:
            self.cancel()
            raise
        for number in numbers:
            del self._submissions[number]
        return results

    def cancel(self) -> None:
        """Forget what waits, and end the workers that have a task; see `ComputeBackend.cancel`."""
        self._waiting.clear()
        self._submissions.clear()
        for process in [process for process in self._processes if process.number is not None]:
            self._processes.remove(process)
            process.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.cancel()
        for process in self._processes:
            process.kill()
        self._processes.clear()
        self._remembered.clear()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _gather(self, numbers: Sequence[int], on_done: OnDone | None) -> list[Any]:
        reported: set[int] = set()
        while True:
            for number in numbers:
                if number not in reported and self._submissions[number].outcome is not None:
                    reported.add(number)
                    if on_done is not None:
                        on_done(self._submissions[number].task.name, len(reported), len(numbers))
            outcomes = [self._submissions[number].outcome for number in numbers]
            # The first in order that failed, once those before it are known to be well: the same as in one process.
            first = next((outcome for outcome in outcomes if outcome is None or outcome.error is not None), None)
            if first is not None and first.error is not None:
                raise first.error
            if all(outcome is not None for outcome in outcomes):
                return [outcome.value for outcome in outcomes if outcome is not None]
            self._assign()
            if any(process.number is not None or not process.is_ready for process in self._processes):
                self._receive()

    def _assign(self) -> None:
        """Give tasks to idle workers, and start workers while there are more tasks."""
        for process in list(self._processes):
            if self._waiting and process.is_ready and process.number is None:
                self._send(process, self._waiting.popleft())
        starting = sum(not process.is_ready for process in self._processes)
        for _ in range(min(len(self._waiting) - starting, self.workers - len(self._processes))):
            self._processes.append(WorkerProcess(Path(self._shared_folder)))

    def _send(self, process: WorkerProcess, number: int) -> None:
        submission = self._submissions[number]
        try:
            if any(shared.key.startswith(_UNPICKLED) for shared in find_shared(submission.task)):
                raise TypeError("a shared value cannot be pickled")  # noqa: TRY301 - as if `encode` met it
            payload = encode(submission.task, with_sources=False)
        except Exception as error:  # noqa: BLE001 - a person's objects may refuse in many ways
            self._run_here(submission, error)
            return
        process.number = number
        try:
            process.connection.send_bytes(payload)
        except OSError:
            self._bury(process)

    def _receive(self) -> None:
        """Take what workers have sent; notice those that died."""
        by_connection = {process.connection: process for process in self._processes}
        for connection in wait(list(by_connection)):
            process = by_connection[connection]  # type: ignore[index]  # `wait` returns what it was given
            try:
                message = process.connection.recv_bytes()
            except (EOFError, OSError):
                self._bury(process)
                continue
            if message == READY and not process.is_ready:
                process.is_ready, self._failed_starts = True, 0
            elif process.number is not None:
                number, process.number = process.number, None
                self._accept(self._submissions[number], decode_outcome(message))

    def _bury(self, process: WorkerProcess) -> None:
        """Remove a worker that died; its task waits again, first in the queue, or fails."""
        self._processes.remove(process)
        process.kill()
        if process.number is None:
            self._failed_starts += not process.is_ready
            if self._failed_starts > self._retries:
                raise ComputeError(
                    f"compute: {self._failed_starts} local workers ended before their first task, the last with "
                    f"{process.describe_end()}; compute in this process with --on local:1"
                )
            return
        submission = self._submissions[process.number]
        submission.deaths += 1
        log.info(
            "a worker died task=%s end=%s deaths=%d", submission.task.name, process.describe_end(), submission.deaths
        )
        if submission.deaths <= self._retries:
            self._waiting.appendleft(process.number)
            return
        submission.outcome = Outcome(
            error=ComputeError(
                f"task {submission.task.name}: its worker died {submission.deaths} times, the last with "
                f"{process.describe_end()}, and compute.retries = {self._retries}; signal 9 is often a lack of memory: "
                "use fewer workers, such as --on local:1"
            )
        )

    def _accept(self, submission: _Submission, outcome: Outcome) -> None:
        if outcome.error is not None and outcome.is_unloadable:
            self._run_here(submission, outcome.error)
        else:
            submission.outcome = outcome

    def _run_here(self, submission: _Submission, reason: Exception) -> None:
        text = (str(reason).splitlines() or [type(reason).__name__])[0]
        if text not in self._told:
            # What one task cannot take with it the next ones cannot either: a candidate has many.
            self._told.add(text)
            self._on_notice(f"{submission.task.name} is computed in this process: {text}")
        try:
            submission.outcome = Outcome(call(submission.task, load=lambda shared: shared.value))
        except Exception as error:  # noqa: BLE001 - raised when it is gathered
            submission.outcome = Outcome(error=error)

    def _write(self, value: object) -> Shared:
        try:
            encoded = encode(value, with_sources=False)
        except Exception:  # noqa: BLE001 - as in `_send`, which computes such tasks here
            return Shared(f"{_UNPICKLED}{id(value):x}", value)
        key = hashlib.sha256(encoded).hexdigest()
        path = Path(self._shared_folder) / key
        if not path.exists():
            path.write_bytes(encoded)
        return Shared(key, value)

    @property
    def _shared_folder(self) -> str:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="drupelet-compute-")
        return self._folder.name


_UNPICKLED = "unpickled-"
