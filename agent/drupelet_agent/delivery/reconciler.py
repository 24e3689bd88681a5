"""Decides the next step from the desired states, the installed releases and the failures: a pure function."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from drupelet_agent.store.records import Activation, ModelRecord
from drupelet_shared.contract.delivery import DesiredState

# Errors that may be temporary: the link, the server, the disk, another process, memory of other models.
_PASSING = {
    "archive_no_space",
    "command_failed",
    "device_busy",
    "memory_budget_exceeded",
    "source_error",
    "store_busy",
    "store_error",
    "store_full",
    "store_read_only",
    "too_many_uploads",
    "unknown_upload",
    "upload_digest_mismatch",
}
_FIRST_S, _LONGEST_S = 5.0, 3600.0
# Other refusals are permanent, unless the file behind the URL or the trust folder changes.
_FIRST_REFUSED_S, _LONGEST_REFUSED_S = 600.0, 86_400.0
ROLLED_BACK = "rolled_back"
TOO_OLD = "release_too_old"


@dataclass(frozen=True, slots=True)
class Failure:
    """The latest failed attempt for a desired state.

    Attributes:
        desired: The desired state.
        count: The number of failed attempts.
        code: The code of the error.
        error: The message of the error.
        failed_s: The time of the failure on the monotonic clock.
        delay_s: The delay until the next attempt in seconds.
    """

    desired: DesiredState
    count: int
    code: str
    error: str
    failed_s: float
    delay_s: float


@dataclass(frozen=True, slots=True)
class InSync:
    """The desired package is active."""


@dataclass(frozen=True, slots=True)
class Activate:
    """The desired package is installed, and must be activated."""

    release: int


@dataclass(frozen=True, slots=True)
class Fetch:
    """The desired package must be fetched and installed."""


@dataclass(frozen=True, slots=True)
class Wait:
    """The latest attempt failed, and the next one is not due yet."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class GivenUp:
    """There is no further attempt until another package is desired."""

    code: str
    error: str


Decision = InSync | Activate | Fetch | Wait | GivenUp


def decide(
    desired: Mapping[str, DesiredState],
    records: Mapping[str, ModelRecord],
    failures: Mapping[str, Failure],
    *,
    now_s: float,
) -> dict[str, Decision]:
    """Return the next step for each model with a desired state, by name.

    Args:
        desired: The desired state of each model.
        records: The record of each model in the store.
        failures: The latest failure of each model, also if it belongs to an earlier desired state.
        now_s: The time on the monotonic clock.
    """
    return {
        model: _decide(desired[model], records.get(model, ModelRecord()), failures.get(model), now_s=now_s)
        for model in sorted(desired)
    }


def next_due_s(decisions: Mapping[str, Decision]) -> float:
    """Return the time at which the first delay ends, on the monotonic clock; infinity if there is none."""
    waits = [decision.failure for decision in decisions.values() if isinstance(decision, Wait)]
    return min((failure.failed_s + failure.delay_s for failure in waits), default=math.inf)


def delay_s(code: str, *, count: int, jitter: float) -> float:
    """Return the delay after a failure.

    Args:
        code: The code of the error.
        count: The number of consecutive failures, including this one.
        jitter: A random number from 0 to 1, so that devices that failed together do not retry together.
    """
    first, longest = (_FIRST_S, _LONGEST_S) if code in _PASSING else (_FIRST_REFUSED_S, _LONGEST_REFUSED_S)
    # The longest delay is reached long before 2**20.
    return min(longest, first * 2.0 ** min(count - 1, 20)) * (0.5 + 0.5 * jitter)


def _decide(desired: DesiredState, record: ModelRecord, failure: Failure | None, *, now_s: float) -> Decision:
    if record.active is not None and is_meant(desired, record.active):
        return InSync()
    active, previous, staged = record.active, record.previous, record.staged
    if active is not None and previous is not None and is_meant(desired, previous):
        why = record.changes[-1].why if record.changes else ""
        if previous.release > active.release:
            return GivenUp(ROLLED_BACK, f"release {previous.release} was rolled back: {why}")
        return GivenUp(
            TOO_OLD, f"release {active.release} is active, and only a roll back goes back to {previous.release}"
        )
    if failure is not None and failure.desired == desired and now_s < failure.failed_s + failure.delay_s:
        return Wait(failure)
    if staged is not None and is_meant(desired, staged) and (active is None or staged.release > active.release):
        return Activate(staged.release)
    return Fetch()


def is_meant(desired: DesiredState, activation: Activation) -> bool:
    """Return whether a release is the desired one."""
    return desired.version in {None, activation.version} and desired.digest in {None, activation.digest}
