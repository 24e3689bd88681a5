"""How long a whole compile still takes, from how long its finished passes took."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

# How the time of a compile is usually shared: most goes into the search, then into the choice of layers.
_SHARES = {
    "prune": 60.0,
    "sparsify": 15.0,
    "quantize_aware": 10.0,
    "mix_precision": 10.0,
    "quantize_ncnn": 8.0,
    "quantize_static": 5.0,
    "sensitivity": 4.0,
    "evaluate_variants": 4.0,
    "evaluate": 3.0,
    "importance": 2.0,
}
_OTHERS = 1.0


class OverallProgress:
    """Guesses the time left of a compile; it begins with the first pass.

    A finished pass counts with the seconds that it took, also where its result came from the cache. The pass that runs
    counts by how far it is, or else by its usual share.
    """

    def __init__(self, passes: Sequence[str], *, clock: Callable[[], float] = time.monotonic) -> None:
        """Prepare the guess.

        Args:
            passes: The names of all passes, in order.
            clock: Seconds that only go forward.
        """
        self._passes = tuple(passes)
        self._clock = clock
        self._seconds: dict[str, float] = {}
        self._running: str | None = None
        self._started_s = 0.0
        self._fraction = 0.0

    def start(self, name: str) -> None:
        """Note that a pass starts; one that runs again is no longer finished, nor are those after it."""
        if name in self._passes:
            for later in self._passes[self._passes.index(name) :]:
                self._seconds.pop(later, None)
        self._running, self._started_s, self._fraction = name, self._clock(), 0.0

    def progress(self, *, done: int, total: int) -> None:
        """Note how far the running pass is.

        Args:
            done: The number of finished pieces.
            total: The number of all pieces.
        """
        self._fraction = min(1.0, done / total) if total > 0 else 0.0

    def finish(self, name: str, *, seconds: float) -> None:
        """Note that a pass is done.

        Args:
            name: Its name.
            seconds: How long it took, now or when its result was made.
        """
        self._seconds[name] = seconds
        self._running = None

    def left_s(self) -> float | None:
        """Return the seconds that are probably left; None before anything is known."""
        known_s, known_share = sum(self._seconds.values()), sum(_share(name) for name in self._seconds)
        running_s = 0.0 if self._running is None else self._clock() - self._started_s
        if self._running is not None and self._fraction > 0:
            known_s, known_share = known_s + running_s, known_share + self._fraction * _share(self._running)
        if known_share <= 0 or known_s <= 0:
            return None
        pace = known_s / known_share
        waiting = [name for name in self._passes if name not in self._seconds and name != self._running]
        left_s = pace * sum(_share(name) for name in waiting)
        if self._running is not None:
            usual_s = pace * _share(self._running)
            left_s += max(0.0, running_s / self._fraction - running_s if self._fraction > 0 else usual_s - running_s)
        return left_s


def _share(name: str) -> float:
    return _SHARES.get(name, _OTHERS)
