"""Starts local workers only where they save time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from drupelet_host.compute.backend import OnDone, Shared, Task, count_on
from drupelet_host.compute.in_process import InProcess
from drupelet_host.compute.local_pool import LocalPool

# Two workers have started and imported PyTorch in 4 to 8 s on two cores.
_WORTH_S = 15.0


class AdaptivePool:
    """Computes in this process until the rest of a batch would take long, then starts a pool of workers.

    Results are the same either way, so only the time depends on the choice.

    Args:
        pool: The pool.
        worth_s: How long the rest of a batch must take on one processor for workers to start.
        clock: Returns the time in seconds.
    """

    def __init__(
        self, pool: LocalPool, *, worth_s: float = _WORTH_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._pool = pool
        self._own = InProcess(threads=pool.threads)
        self._worth_s = worth_s
        self._clock = clock
        self._tasks: dict[int, Task] = {}
        self._submitted = 0
        self.workers = pool.workers
        self.threads = pool.threads

    @property
    def is_parallel(self) -> bool:
        """Whether workers have been started."""
        return bool(self._pool.process_ids)

    def share(self, value: object) -> Shared:
        """Return a reference to the value; it is pickled when workers start."""
        return self._pool.share(value) if self.is_parallel else self._own.share(value)

    def submit(self, task: Task) -> int:
        """Accept a task; see `ComputeBackend.submit`."""
        self._submitted += 1
        self._tasks[self._submitted] = task
        return self._submitted

    def gather(self, numbers: Sequence[int], *, on_done: OnDone | None = None) -> list[Any]:
        """Wait for tasks; see `ComputeBackend.gather`."""
        tasks = [self._tasks.pop(number) for number in numbers]
        results: list[Any] = []
        report = count_on(on_done, results, total=len(tasks))
        start = self._clock()
        while not self.is_parallel and len(results) < len(tasks):
            left = len(tasks) - len(results)
            if results and left > 1 and (self._clock() - start) / len(results) * left > self._worth_s:
                break
            results += self._own.gather([self._own.submit(tasks[len(results)])], on_done=report)
        rest = [self._pool.submit(self._for_pool(task)) for task in tasks[len(results) :]]
        return results + (self._pool.gather(rest, on_done=report) if rest else [])

    def cancel(self) -> None:
        """End every task; see `ComputeBackend.cancel`."""
        self._tasks.clear()
        self._own.cancel()
        self._pool.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.cancel()
        self._pool.__exit__(kind, error, traceback)

    def _for_pool(self, task: Task) -> Task:
        """Return the task with its shared values in the pool's files; those that are there already stay."""
        arguments = tuple(
            self._pool.share(argument.value) if isinstance(argument, Shared) else argument
            for argument in task.arguments
        )
        return Task(task.name, task.function, arguments, task.threads)
