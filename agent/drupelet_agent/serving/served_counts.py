"""Counts what one server serves, for the contract it must keep and the plan it was given."""

from __future__ import annotations

import time
from dataclasses import dataclass

from drupelet_agent.planning.contract import Limits, Served, broken, is_complete, is_p99_over
from drupelet_agent.serving.job import Outcome
from drupelet_shared.errors import InferenceFailedError, ModelUnavailableError

# A plan of microseconds is exceeded by any hiccup of the kernel; below this much nobody would notice.
_UNNOTICED_MS = 5.0
_ENOUGH_TO_DRIFT = 20
_FAILURES = frozenset({InferenceFailedError.code, ModelUnavailableError.code})


@dataclass(frozen=True, slots=True)
class Judgement:
    """What of a contract is broken, in words; None if it is kept."""

    broken: str | None


class Watch:
    """The counts of one server since the last verdict."""

    def __init__(self, limits: Limits, *, planned_p99_ms: float, drift_factor: float) -> None:
        """Start counting.

        Args:
            limits: The contract.
            planned_p99_ms: What the plan promises.
            drift_factor: From which multiple of it on the plan counts as outdated.
        """
        self._limits = limits
        self._drift_ms = max(planned_p99_ms * drift_factor, planned_p99_ms + _UNNOTICED_MS)
        self.forget()

    def forget(self) -> None:
        """Begin anew: what was counted says nothing about the model, as while another is measured beside it."""
        self._drift: str | None = None
        self._start_contract()
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

    def judge(self, *, throttled: bool) -> Judgement | None:
        """Whether the contract was kept; None while there is too little to judge by, after that the count begins anew.

        Args:
            throttled: Whether the device slows its cores down; then slowness says nothing about the release.
        """
        served = Served(
            seconds=time.monotonic() - self._since_s, answered=self._answered, late=self._late, failed=self._failed
        )
        if not is_complete(served, self._limits):
            return None
        self._start_contract()
        return Judgement(broken(served, self._limits, throttled=throttled))

    def drift(self) -> str | None:
        """How the served latency has left the plan; the last judgement holds until there is enough for another."""
        if self._drift_answered >= _ENOUGH_TO_DRIFT:
            over = is_p99_over(answered=self._drift_answered, late=self._drift_late)
            counts = f"{self._drift_late} of {self._drift_answered} inferences took longer than {self._drift_ms:.2f} ms"
            self._drift = f"served latency has left the plan: {counts}" if over else None
            self._start_drift()
        return self._drift

    def _start_contract(self) -> None:
        self._since_s = time.monotonic()
        self._answered = self._late = self._failed = 0

    def _start_drift(self) -> None:
        self._drift_answered = self._drift_late = 0
