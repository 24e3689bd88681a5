"""Whether what was served keeps the contract: a pure function from counts to a verdict.

A p99 is over a limit exactly when more than one request in a hundred is: two counters say so without a histogram.
"""

from __future__ import annotations

from dataclasses import dataclass

_SHARE_ABOVE_P99 = 0.01
# One request in a hundred is easily slow by chance among few, so this many must be.
_FEWEST_LATE = 3


@dataclass(frozen=True, slots=True)
class Limits:
    """What a release must keep; None is no limit.

    Attributes:
        p99_ms: Of the inference alone: what a request waits before it depends on the load and not on the release.
        error_rate: Share of requests on which the engine or the worker failed, 0 to 1.
        window_s: Least time over which to judge.
        min_requests: Fewest requests over which to judge.
    """

    p99_ms: float | None
    error_rate: float | None
    window_s: float
    min_requests: int


@dataclass(frozen=True, slots=True)
class Served:
    """What was served over a time.

    Attributes:
        seconds: How long that was.
        answered: Requests that the engine answered.
        late: Those of them whose inference took longer than the limit.
        failed: Requests on which the engine or the worker failed; a client's own errors are no part of this.
    """

    seconds: float
    answered: int
    late: int
    failed: int


def is_complete(served: Served, limits: Limits) -> bool:
    """Whether this is enough to judge by."""
    return served.seconds >= limits.window_s and served.answered + served.failed >= limits.min_requests


def is_p99_over(*, answered: int, late: int) -> bool:
    """Whether the p99 of these requests is over the limit that `late` counts."""
    return late >= _FEWEST_LATE and late > answered * _SHARE_ABOVE_P99


def broken(served: Served, limits: Limits, *, throttled: bool) -> str | None:
    """What of the contract is broken, in words; None if nothing is, or there is too little to judge by.

    Args:
        served: What was served since the last verdict.
        limits: The contract.
        throttled: Whether the device slows its cores down; then slowness says nothing about the release.
    """
    if not is_complete(served, limits):
        return None
    requests = served.answered + served.failed
    if limits.error_rate is not None and served.failed > requests * limits.error_rate:
        return (
            f"{served.failed} of {requests} requests in {served.seconds:.0f} s failed: "
            f"the limit is {limits.error_rate:.0%}"
        )
    if limits.p99_ms is not None and not throttled and is_p99_over(answered=served.answered, late=served.late):
        return (
            f"{served.late} of {served.answered} inferences in {served.seconds:.0f} s took longer than "
            f"{limits.p99_ms:.2f} ms: the contract allows 1 %"
        )
    return None
