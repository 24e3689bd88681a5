"""The time that one package may take for loading, checking and measuring all of its candidates."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from drupelet_agent.errors import TimeLimitError, WorkerTimeoutError
from drupelet_agent.serving.workers.port import Worker
from drupelet_agent.serving.workers.protocol import Message
from drupelet_agent.serving.workers.worker_process import expect

Answer = TypeVar("Answer", bound=Message)

# One candidate that never answers must leave time for the others.
_LARGEST_PART = 0.5


class TimeLimit:
    """One deadline for everything that a package makes workers do, however many candidates it has.

    Invariant: all waits together end when the time is over; each takes at most half of what is left.
    """

    def __init__(self, limit_s: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Start the time.

        Args:
            limit_s: Seconds for all waits together.
            clock: Returns the time in seconds.
        """
        self._limit_s = limit_s
        self._clock = clock
        self._end_s = clock() + limit_s

    def check(self) -> None:
        """Do nothing while there is time.

        Raises:
            TimeLimitError: No time is left.
        """
        if self._clock() >= self._end_s:
            raise TimeLimitError(
                f"the package has used up its {self._limit_s:g} s for loading, checking and measuring "
                "(tuning.total_seconds)"
            )

    def expect(self, worker: Worker, answer: type[Answer], *, timeout_s: float) -> Answer:
        """Wait for an answer of one type, for no longer than the time that is left.

        Args:
            worker: The worker that answers.
            answer: The type of message that is expected.
            timeout_s: The longest wait, if so much time is left.

        Returns:
            The answer.

        Raises:
            TimeLimitError: No time is left, or no answer came within half of it.
            WorkerTimeoutError: The worker did not answer within `timeout_s`.
            WorkerError: The worker failed or answered with another type.
        """
        self.check()
        part_s = _LARGEST_PART * (self._end_s - self._clock())
        if timeout_s <= part_s:
            return expect(worker, answer, timeout_s=timeout_s)
        try:
            return expect(worker, answer, timeout_s=part_s)
        except WorkerTimeoutError as error:
            raise TimeLimitError(
                f"worker {worker.pid}: no answer within {part_s:.1f} s, half of the time that was left of the "
                f"package's {self._limit_s:g} s (tuning.total_seconds)"
            ) from error
