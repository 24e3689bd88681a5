"""Whether to measure a model again now: a pure function from what is seen and what was decided before."""

from __future__ import annotations

from dataclasses import dataclass, replace

from drupelet_agent.device.snapshot import Snapshot
from drupelet_shared.units import format_bytes

# The Pi's firmware slows down from 80 °C. Two thresholds, so that a temperature that hovers at one does not flip.
_HOT_CELSIUS = 78.0
_COOL_CELSIUS = 70.0
# Less than this share of more or less memory changes no plan.
_MEMORY_CHANGE = 0.1
# Measurements that follow each other within this many intervals are a series, and each doubles the interval.
_SERIES_INTERVALS = 4
_LONGEST_SERIES = 5


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a plan depends on.

    Attributes:
        cores: Cores the model may use.
        cpu_quota: The cores' worth of time there is for them; None without a quota.
        memory_bytes: Memory for all models together.
        hot: Whether the processor is about to be slowed down.
        throttled: Whether it is slowed down.
    """

    cores: int
    cpu_quota: float | None
    memory_bytes: int
    hot: bool = False
    throttled: bool = False


@dataclass(frozen=True, slots=True)
class Policy:
    """When to measure again; see `RetuneConfig`."""

    confirm: int
    min_interval_s: float


@dataclass(frozen=True, slots=True)
class History:
    """What was seen and decided so far; a value, so that a decision can be tried without being taken.

    Attributes:
        planned: The conditions that the running plan was made for.
        seen: The change that is waiting to be confirmed; None if there is none.
        looks: How many looks in a row have seen it.
        tuned_s: When was measured last, on the monotonic clock; None if never in this run.
        series: How many measurements have followed each other closely.
    """

    planned: Conditions
    seen: str | None = None
    looks: int = 0
    tuned_s: float | None = None
    series: int = 0


def conditions(snapshot: Snapshot, *, cores: int, memory_bytes: int, before: Conditions | None) -> Conditions:
    """The conditions now; `before` decides whether a temperature between the two thresholds still counts as hot."""
    celsius = snapshot.temperature_celsius
    threshold = _COOL_CELSIUS if before is not None and before.hot else _HOT_CELSIUS
    return Conditions(
        cores=cores,
        cpu_quota=snapshot.cpu_quota,
        memory_bytes=memory_bytes,
        hot=celsius is not None and celsius >= threshold,
        throttled=bool(snapshot.throttled),
    )


def look(
    history: History, now: Conditions, *, drift: str | None, now_s: float, policy: Policy
) -> tuple[History, str | None]:
    """Take one look, and say whether to measure again.

    A change counts once `confirm` looks in a row have seen the same one, and no sooner after the last measurement than
    the interval, which doubles while measurements follow each other closely. Measuring makes the conditions of that
    look the planned ones.

    Args:
        history: What was seen before.
        now: The conditions now.
        drift: How served latency has left the plan; None if it has not.
        now_s: The monotonic clock.
        policy: How patient to be.

    Returns:
        The history with this look, and the reason to measure again, or None.
    """
    change = difference(history.planned, now) or drift
    if change is None:
        return replace(history, seen=None, looks=0), None
    # Drift names numbers that differ with every look, and is the same change all the same.
    kind = change if change != drift else "drift"
    looks = history.looks + 1 if kind == history.seen else 1
    history = replace(history, seen=kind, looks=looks)
    if looks < policy.confirm or now_s < _earliest_s(history, policy):
        return history, None
    return History(planned=now, tuned_s=now_s, series=_series(history, now_s, policy)), change


def difference(planned: Conditions, now: Conditions) -> str | None:
    """The first change that a plan may not survive, in words."""
    if planned.cores != now.cores:
        return f"usable cores {planned.cores} -> {now.cores}"
    if planned.cpu_quota != now.cpu_quota:
        return f"CPU quota {_or_none(planned.cpu_quota)} -> {_or_none(now.cpu_quota)}"
    if abs(now.memory_bytes - planned.memory_bytes) > planned.memory_bytes * _MEMORY_CHANGE:
        return f"memory for models {format_bytes(planned.memory_bytes)} -> {format_bytes(now.memory_bytes)}"
    if planned.throttled != now.throttled:
        return "the cores are slowed down" if now.throttled else "the cores are no longer slowed down"
    if planned.hot != now.hot:
        return "the processor is hot" if now.hot else "the processor has cooled down"
    return None


def _earliest_s(history: History, policy: Policy) -> float:
    if history.tuned_s is None:
        return float("-inf")
    return history.tuned_s + policy.min_interval_s * (1 << history.series)


def _series(history: History, now_s: float, policy: Policy) -> int:
    if history.tuned_s is None or now_s - history.tuned_s > _SERIES_INTERVALS * policy.min_interval_s * (
        1 << history.series
    ):
        return 0
    return min(_LONGEST_SERIES, history.series + 1)


def _or_none(quota: float | None) -> str:
    return "none" if quota is None else f"{quota:g}"
