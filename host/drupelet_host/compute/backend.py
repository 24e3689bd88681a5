"""The protocol of what computes the tasks of a compile, and the two ways in which passes use it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

# The name of the task that is done, how many are done, and how many there are.
OnDone = Callable[[str, int, int], None]


class Shared:
    """A value that many tasks read: a model or data. It travels to each worker once; no task may change it.

    Pickled, it is only its key: a worker fetches the value from where the backend has put it.
    """

    __slots__ = ("key", "value")

    def __init__(self, key: str, value: object = None) -> None:
        """Refer to a value.

        Args:
            key: Identifies the value; equal for equal values.
            value: The value, where it is at hand.
        """
        self.key = key
        self.value = value

    def __reduce__(self) -> tuple[type[Shared], tuple[str]]:
        return Shared, (self.key,)

    def __repr__(self) -> str:
        return f"Shared({self.key[:12]})"


@dataclass(frozen=True, slots=True)
class Task:
    """A call of a function, which may run in any process and any number of times: it has no effect but its result.

    Attributes:
        name: What it computes, for messages.
        function: A function at the top level of a module.
        arguments: Its arguments; a `Shared` is replaced by its value.
        threads: How many threads PyTorch uses, on which the last bits of a result depend; None for the number of the
            backend.
    """

    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    threads: int | None = None


class ComputeBackend(Protocol):
    """Computes tasks. The same tasks give the same results on every backend.

    A context manager: nothing runs any more after its block.
    """

    @property
    def workers(self) -> int:
        """How many tasks run at the same time."""

    @property
    def threads(self) -> int:
        """How many threads a task has that does not state it: the same everywhere, whatever the machine."""

    def share(self, value: object) -> Shared:
        """Return a reference to a value for the arguments of tasks; the value must not change afterwards."""

    def submit(self, task: Task) -> int:
        """Accept a task and return its number."""

    def gather(self, numbers: Sequence[int], *, on_done: OnDone | None = None) -> list[Any]:
        """Wait for tasks and return their results in the order of the numbers.

        Args:
            numbers: The numbers of submitted tasks, each gathered once.
            on_done: Called for each finished task, in the order in which they end.

        Raises:
            ComputeError: The workers of a task died again and again, or a worker cannot be reached.
            Exception: What a task raised: that of the first failed task by the order of the numbers. Tasks that were
                not gathered are cancelled then.
        """

    def cancel(self) -> None:
        """End every task that is submitted or runs; nothing of them is left running."""

    def __enter__(self) -> Self:
        """Return the backend."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Cancel everything and end the workers."""


def run_tasks(compute: ComputeBackend, tasks: Sequence[Task], *, on_done: OnDone | None = None) -> list[Any]:
    """Compute tasks.

    Args:
        compute: The backend.
        tasks: The tasks.
        on_done: Called for each finished task.

    Returns:
        The results in the order of the tasks.
    """
    return compute.gather([compute.submit(task) for task in tasks], on_done=on_done)


def run_until(
    compute: ComputeBackend,
    tasks: Sequence[Task],
    *,
    is_over: Callable[[], bool] | None = None,
    at_least: int = 0,
    on_done: OnDone | None = None,
) -> list[Any]:
    """Compute tasks in order until there is no time left.

    Args:
        compute: The backend.
        tasks: The tasks.
        is_over: Whether nothing more may be begun; None where time is not limited.
        at_least: How many tasks are begun whatever the time.
        on_done: Called for each finished task, with the number of all tasks.

    Returns:
        The results of the tasks that were begun, in order.
    """
    if is_over is None:
        return run_tasks(compute, tasks, on_done=on_done)
    results: list[Any] = []
    report = count_on(on_done, results, total=len(tasks))
    while len(results) < len(tasks) and (len(results) < at_least or not is_over()):
        results += run_tasks(compute, tasks[len(results) : len(results) + compute.workers], on_done=report)
    return results


def count_on(on_done: OnDone | None, results: Sequence[object], *, total: int) -> OnDone:
    """Return what to call while a part of some tasks is computed, so that `on_done` counts on from the parts before.

    Args:
        on_done: Called with the number of all tasks that are done; None for nothing.
        results: The results of the parts before, which grow with each part.
        total: How many tasks there are in all parts.
    """

    def report(name: str, done: int, _total: int) -> None:
        if on_done is not None:
            on_done(name, len(results) + done, total)

    return report
