"""Whether to measure a model again: a pure function of present conditions and earlier decisions."""

from __future__ import annotations

from dataclasses import dataclass, replace

from drupelet_agent.device.snapshot import Snapshot
from drupelet_shared.units import format_bytes

# The Pi's firmware slows down from 80 °C. Two thresholds keep a temperature near one of them from alternating.
_HOT_CELSIUS = 78.0
_COOL_CELSIUS = 70.0
# A smaller relative change of the memory changes no plan.
_MEMORY_CHANGE = 0.1
# Measurements within this many intervals of each other are a series, in which each doubles the interval.
_SERIES_INTERVALS = 4
_LONGEST_SERIES = 5


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a plan depends on.

    Attributes:
        cores: Cores that the model may use.
        cpu_quota: The quota of processor time, in cores; None without a quota.
        memory_bytes: Memory for all models together.
        hot: Whether the processor is about to slow down.
        throttled: Whether it has slowed down.
    """

    cores: int
    cpu_quota: float | None
    memory_bytes: int
    hot: bool = False
    throttled: bool = False


@dataclass(frozen=True, slots=True)
class RetunePolicy:
    """When to measure again; see `RetuneConfig`.

    Attributes:
        confirm: How many checks in a row must see the same change.
        min_interval_s: The least time between two measurements of a model.
    """

    confirm: int
    min_interval_s: float


@dataclass(frozen=True, slots=True)
class RetuneHistory:
    """What was seen and decided so far.

    Attributes:
        planned: The conditions that the running plan was made for.
        change: The change that waits for confirmation; None if there is none.
        confirmations: How many checks in a row have seen it.
        tuned_s: When the model was last measured, on the monotonic clock; None if never in this process.
        series: How many measurements have followed each other closely.
    """

    planned: Conditions
    change: str | None = None
    confirmations: int = 0
    tuned_s: float | None = None
    series: int = 0


def conditions_of(snapshot: Snapshot, *, cores: int, memory_bytes: int, before: Conditions | None) -> Conditions:
    """Determine the present conditions.

    Args:
        snapshot: The device now.
        cores: Cores that the model may use.
        memory_bytes: Memory for all models together.
        before: The conditions at the last check, which decide whether a temperature between the two thresholds is hot.

    Returns:
        The conditions now.
    """
    celsius = snapshot.temperature_celsius
    threshold = _COOL_CELSIUS if before is not None and before.hot else _HOT_CELSIUS
    return Conditions(
        cores=cores,
        cpu_quota=snapshot.cpu_quota,
        memory_bytes=memory_bytes,
        hot=celsius is not None and celsius >= threshold,
        throttled=bool(snapshot.throttled),
    )


def assess(
    history: RetuneHistory, now: Conditions, *, drift: str | None, now_s: float, policy: RetunePolicy
) -> tuple[RetuneHistory, str | None]:
    """Compare present conditions with the planned ones, and decide whether to measure again.

    A change counts once `confirm` checks in a row have seen the same one, and no sooner after the last measurement than
    the interval, which doubles while measurements follow each other closely. Measuring makes the present conditions the
    planned ones.

    Args:
        history: What was seen before.
        now: The conditions now.
        drift: How the served latency deviates from the plan; None if it does not.
        now_s: The monotonic clock.
        policy: When to measure again.

    Returns:
        The history including this check, and the reason to measure again, or None.
    """
    change = change_between(history.planned, now) or drift
    if change is None:
        return replace(history, change=None, confirmations=0), None
    # The text of a drift has numbers that differ at every check, and is the same change nevertheless.
    kind = change if change != drift else "drift"
    confirmations = history.confirmations + 1 if kind == history.change else 1
    history = replace(history, change=kind, confirmations=confirmations)
    if confirmations < policy.confirm or now_s < _earliest_s(history, policy):
        return history, None
    return RetuneHistory(planned=now, tuned_s=now_s, series=_series(history, now_s, policy)), change


def change_between(planned: Conditions, now: Conditions) -> str | None:
    """Return the first change that may make another plan better, in words; None if there is none."""
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


def _earliest_s(history: RetuneHistory, policy: RetunePolicy) -> float:
    if history.tuned_s is None:
        return float("-inf")
    return history.tuned_s + policy.min_interval_s * (1 << history.series)


def _series(history: RetuneHistory, now_s: float, policy: RetunePolicy) -> int:
    if history.tuned_s is None or now_s - history.tuned_s > _SERIES_INTERVALS * policy.min_interval_s * (
        1 << history.series
    ):
        return 0
    return min(_LONGEST_SERIES, history.series + 1)


def _or_none(quota: float | None) -> str:
    return "none" if quota is None else f"{quota:g}"
