"""How much a search may still do."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

_SECONDS_PER_MINUTE = 60


@dataclass(slots=True)
class SearchBudget:
    """The limits of a search, and what of them is used; the clock starts with it.

    Attributes:
        max_trials: Most candidates.
        max_passes: Most passes over the training data, over all candidates; None is no limit.
        max_minutes: Time after which nothing is begun; None is no limit.
        passes: How many were made.
    """

    max_trials: int
    max_passes: int | None = None
    max_minutes: float | None = None
    passes: int = field(default=0, init=False)
    _start_s: float = field(default_factory=time.monotonic, init=False)

    def count_pass(self) -> None:
        """One more pass over the training data is done."""
        self.passes += 1

    def allow(self, passes: int) -> int:
        """As many of these passes as are left."""
        return passes if self.max_passes is None else min(passes, self.max_passes - self.passes)

    def spent(self, *, trials: int = 0) -> str:
        """Which limit is reached, in words; "" while there is some budget left.

        Args:
            trials: How many candidates were made.
        """
        if trials >= self.max_trials:
            return f"{trials} candidates were made, which is max_trials"
        if self.max_passes is not None and self.passes >= self.max_passes:
            return f"{self.passes} passes over the training data were made, which is max_passes"
        minutes = (time.monotonic() - self._start_s) / _SECONDS_PER_MINUTE
        if self.max_minutes is not None and minutes >= self.max_minutes:
            return f"{minutes:.1f} minutes are over, which max_minutes allows"
        return ""
