"""Computes tasks one after another in this process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from drupelet_host.compute.backend import OnDone, Shared, Task
from drupelet_host.compute.execution import call


class InProcess:
    """The backend of one process: a task runs when it is gathered.

    Args:
        threads: The threads of a task that does not state them.
    """

    workers = 1

    def __init__(self, *, threads: int = 1) -> None:
        self.threads = threads
        self._tasks: dict[int, Task] = {}
        self._submitted = 0

    def share(self, value: object) -> Shared:
        """Return a reference to the value itself."""
        return Shared(f"{id(value):x}", value)

    def submit(self, task: Task) -> int:
        """Accept a task; see `ComputeBackend.submit`."""
        self._submitted += 1
        self._tasks[self._submitted] = replace(task, threads=task.threads or self.threads)
        return self._submitted

    def gather(self, numbers: Sequence[int], *, on_done: OnDone | None = None) -> list[Any]:
        """Run tasks; see `ComputeBackend.gather`."""
        results = []
        try:
            for number in numbers:
                task = self._tasks.pop(number)
                results.append(call(task, load=_value_of))
                if on_done is not None:
                    on_done(task.name, len(results), len(numbers))
        except BaseException:
            self.cancel()
            raise
        return results

    def cancel(self) -> None:
        """Forget the tasks that were not gathered."""
        self._tasks.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.cancel()


def _value_of(shared: Shared) -> object:
    return shared.value


IN_PROCESS = InProcess()
