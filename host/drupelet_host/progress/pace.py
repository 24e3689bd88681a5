"""How far a long piece of work is, and until when it may go on."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from drupelet_host.progress.observer import SILENT, Observer

_SECONDS_PER_MINUTE = 60


@dataclass(frozen=True, slots=True)
class Pace:
    """Reports progress, and tells when the time is over; work that is cut short by it gives its best so far.

    Attributes:
        observer: Receives the progress.
        deadline_s: The end by the monotonic clock; None is no limit.
    """

    observer: Observer = SILENT
    deadline_s: float | None = None

    @classmethod
    def of_minutes(cls, observer: Observer, minutes: float | None) -> Pace:
        """Return a pace that begins now.

        Args:
            observer: Receives the progress.
            minutes: The time that the work may take; None is no limit.
        """
        return cls(observer, None if minutes is None else time.monotonic() + minutes * _SECONDS_PER_MINUTE)

    @property
    def is_over(self) -> bool:
        """Whether nothing more may be begun."""
        return self.deadline_s is not None and time.monotonic() >= self.deadline_s

    @property
    def limit(self) -> Callable[[], bool] | None:
        """What tells whether the time is over; None where it is not limited."""
        return None if self.deadline_s is None else lambda: self.is_over

    def progressed(self, what: str, *, done: int, total: int) -> None:
        """Report progress.

        Args:
            what: The latest finished piece of work.
            done: The number of finished pieces.
            total: The number of all pieces.
        """
        self.observer.progressed(what, done=done, total=total)


UNHURRIED = Pace()
