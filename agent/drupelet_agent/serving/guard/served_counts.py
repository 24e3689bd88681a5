"""Counts of what one server served, against its contract and its plan."""

from __future__ import annotations

from dataclasses import dataclass

from drupelet_agent.planning.contract import (
    ContractLimits,
    ServedWindow,
    is_at_risk,
    is_complete,
    is_p99_over,
    violation,
)
from drupelet_agent.serving.clock import Clock
from drupelet_agent.serving.job import Outcome
from drupelet_shared.errors import InferenceFailedError, ModelUnavailableError

# A plan of microseconds is exceeded by every interruption of the kernel; no client notices less than this.
_UNNOTICED_MS = 5.0
_MIN_REQUESTS_FOR_DRIFT = 20
_FAILURES = frozenset({InferenceFailedError.code, ModelUnavailableError.code})


@dataclass(frozen=True, slots=True)
class ContractResult:
    """Whether the contract was kept over one window.

    Attributes:
        violation: What was violated, in words; None if the contract was kept.
    """

    violation: str | None


class ServedCounts:
    """Counts the outcomes of one server since the last result.

    Invariant: contract and drift have windows of their own; ending one does not change the other.
    """

    def __init__(self, limits: ContractLimits, *, planned_p99_ms: float, drift_factor: float, clock: Clock) -> None:
        """Start counting.

        Args:
            limits: The contract.
            planned_p99_ms: The p99 of the plan.
            drift_factor: The multiple of it beyond which a request counts as slower than planned.
            clock: The time.
        """
        self._limits = limits
        self._drift_ms = max(planned_p99_ms * drift_factor, planned_p99_ms + _UNNOTICED_MS)
        self._clock = clock
        self.reset()

    def reset(self) -> None:
        """Drop what was counted, as it says nothing about the model while another is measured."""
        self._start_contract()
        self.reset_drift()

    def reset_drift(self) -> None:
        """Drop what was counted of the drift, as what was served meanwhile was slowed down."""
        self._drift: str | None = None
        self._start_drift()

    def record(self, outcome: Outcome) -> None:
        """Count the end of one request."""
        if outcome.times is None:
            self._failed += outcome.code in _FAILURES
            return
        inference_ms = outcome.times.inference_ms
        self._answered += 1
        self._late += self._limits.p99_ms is not None and inference_ms > self._limits.p99_ms
        self._drift_answered += 1
        self._drift_late += inference_ms > self._drift_ms

    @property
    def window_s(self) -> float:
        """The time since counting began."""
        return self._clock.now_s() - self._since_s

    @property
    def is_at_risk(self) -> bool:
        """Whether half of what breaks the contract has happened in this window."""
        return is_at_risk(self._served(), self._limits)

    def end_contract_window(self, *, throttled: bool) -> ContractResult | None:
        """Return whether the contract was kept, and start the next window; None while there is too little to judge by.

        Args:
            throttled: Whether the device slows its cores down; then slowness says nothing about the release.
        """
        window = self._served()
        if not is_complete(window, self._limits):
            return None
        self._start_contract()
        return ContractResult(violation(window, self._limits, throttled=throttled))

    def drift(self) -> str | None:
        """Return how the served latency deviates from the plan; None if it does not.

        A result holds until the next window is complete.
        """
        if self._drift_answered >= _MIN_REQUESTS_FOR_DRIFT:
            over = is_p99_over(answered=self._drift_answered, late=self._drift_late)
            counts = f"{self._drift_late} of {self._drift_answered} inferences took longer than {self._drift_ms:.2f} ms"
            self._drift = f"served latency has left the plan: {counts}" if over else None
            self._start_drift()
        return self._drift

    def _served(self) -> ServedWindow:
        return ServedWindow(seconds=self.window_s, answered=self._answered, late=self._late, failed=self._failed)

    def _start_contract(self) -> None:
        self._since_s = self._clock.now_s()
        self._answered = self._late = self._failed = 0

    def _start_drift(self) -> None:
        self._drift_answered = self._drift_late = 0
