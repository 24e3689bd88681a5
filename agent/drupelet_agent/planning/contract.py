"""Whether what was served keeps the contract: a pure function of counts.

The p99 is over a limit if and only if more than one request in a hundred is: two counters tell, without a histogram.
"""

from __future__ import annotations

from dataclasses import dataclass

_SHARE_ABOVE_P99 = 0.01
# Among few requests, one in a hundred is easily slow by chance.
_MIN_LATE = 3


@dataclass(frozen=True, slots=True)
class ContractLimits:
    """What a release must keep; None is no limit.

    Attributes:
        p99_ms: Of the inference alone; the time in the queue depends on the load, not on the release.
        error_rate: Share of requests on which the engine or the worker failed, 0 to 1.
        window_s: Least time over which to judge.
        min_requests: Fewest requests over which to judge.
    """

    p99_ms: float | None
    error_rate: float | None
    window_s: float
    min_requests: int


@dataclass(frozen=True, slots=True)
class ServedWindow:
    """What was served over a time.

    Attributes:
        seconds: The length of that time.
        answered: Requests that the engine answered.
        late: Those of them whose inference took longer than the limit.
        failed: Requests on which the engine or the worker failed; errors of clients do not count.
    """

    seconds: float
    answered: int
    late: int
    failed: int


def is_complete(window: ServedWindow, limits: ContractLimits) -> bool:
    """Return whether there is enough to judge by."""
    return window.seconds >= limits.window_s and window.answered + window.failed >= limits.min_requests


def is_p99_over(*, answered: int, late: int) -> bool:
    """Return whether the p99 of these requests is over the limit that `late` counts."""
    return late >= _MIN_LATE and late > answered * _SHARE_ABOVE_P99


def is_at_risk(window: ServedWindow, limits: ContractLimits) -> bool:
    """Return whether half of what breaks the contract has happened, however short the window is.

    Args:
        window: What was served since the last result.
        limits: The contract.
    """
    requests = window.answered + window.failed
    late = limits.p99_ms is not None and 2 * window.late > max(_MIN_LATE, window.answered * _SHARE_ABOVE_P99)
    failed = limits.error_rate is not None and window.failed > 1 and 2 * window.failed > requests * limits.error_rate
    return late or failed


def violation(window: ServedWindow, limits: ContractLimits, *, throttled: bool) -> str | None:
    """Compare what was served with the contract.

    Args:
        window: What was served since the last result.
        limits: The contract.
        throttled: Whether the device slows its cores down; then slowness says nothing about the release.

    Returns:
        What is violated, in words; None if nothing is, or there is too little to judge by.
    """
    if not is_complete(window, limits):
        return None
    requests = window.answered + window.failed
    if limits.error_rate is not None and window.failed > requests * limits.error_rate:
        return (
            f"{window.failed} of {requests} requests in {window.seconds:.0f} s failed: "
            f"the limit is {limits.error_rate:.0%}"
        )
    if limits.p99_ms is not None and not throttled and is_p99_over(answered=window.answered, late=window.late):
        return (
            f"{window.late} of {window.answered} inferences in {window.seconds:.0f} s took longer than "
            f"{limits.p99_ms:.2f} ms: the contract allows 1 %"
        )
    return None
