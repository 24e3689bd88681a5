"""Describes constraints that were not met: a table, what to try, and the nearest recipe that can be met."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from drupelet_host.selection.check import Check, show_limit

_ADVICE = {
    "max_metric_drop": "allow a larger drop, a larger model or more time; or raise prune.recovery.epochs",
    "max_size": "allow a larger max_metric_drop, raise prune.max_trials, or add 'static' to quantize.variants",
    "max_latency": "allow a larger max_metric_drop, raise prune.max_trials, or add an engine to export.engines",
    "memory_limit": "add 'litert' or 'ncnn' to export.engines: their processes need less memory",
}
# Offered limits lie this share above what was measured, as the next measurement differs a little.
_SLACK = 0.05
_METRIC_DIGITS = 4


def describe_failure(checks: Sequence[Check], missed: Mapping[str, set[str]], *, kind: str) -> str:
    """Return the message of a compile that fails.

    Args:
        checks: Every constraint against every variant.
        missed: The constraints that each variant of the engine misses.
        kind: The noun for what is missing, such as "variant for litert".

    Returns:
        One line with the fault, a table with a line for each constraint, what to try for those that are missed, and
        limits that the nearest variant meets.
    """
    theirs = [check for check in checks if check.variant in missed]
    nearest = min(missed, key=lambda variant: (len(missed[variant]), _distance(theirs, variant)))
    best = [
        min((check for check in theirs if check.constraint == constraint), key=lambda check: check.bound)
        for constraint in dict.fromkeys(check.constraint for check in theirs)
    ]
    header = f"no {kind} meets all constraints ({nearest} misses {', '.join(sorted(missed[nearest]))}):"
    rows = [("constraint", "limit", "best", "of", ""), *(_row(check) for check in best)]
    tries = [
        f"for {check.constraint}, {_ADVICE.get(check.constraint, 'allow more')}" for check in best if not check.met
    ]
    offer = _offer([check for check in theirs if check.variant == nearest])
    return "\n".join([header, *_align(rows), *tries, f"limits that {nearest} meets:", "  [constraints]", *offer])


def _row(check: Check) -> tuple[str, str, str, str, str]:
    limit, best = show_limit(check, check.limit), show_limit(check, check.bound)
    return check.constraint, limit, best, check.variant, "met" if check.met else "missed"


def _align(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def _distance(checks: Sequence[Check], variant: str) -> float:
    """Return by how much a variant misses the limits, each relative to itself."""
    ours = [check for check in checks if check.variant == variant and not check.met]
    return sum((check.bound - check.limit) / (abs(check.limit) or 1.0) for check in ours)


def _offer(checks: Sequence[Check]) -> list[str]:
    return [f"  {check.constraint} = {_state(check)}" for check in checks]


def _state(check: Check) -> str:
    """Return a limit as a recipe states it: the same where it is met, else one that the variant meets."""
    if check.constraint == "max_metric_drop":
        scale = 10**_METRIC_DIGITS
        return f"{check.limit if check.met else math.ceil(check.bound * scale) / scale:g}"
    value = check.limit if check.met else check.bound * (1 + _SLACK)
    if check.constraint == "max_latency":
        number = f"{value:.3g}"
        return f'"{number} ms"' if check.unit == "ms" else number
    return f"{math.ceil(value)}"
