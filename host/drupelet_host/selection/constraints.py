"""Which variants meet what a person asked for, and how close the others came."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from drupelet_host.errors import ConstraintError
from drupelet_host.evaluation.measurement import Measurement
from drupelet_host.latency.engines import engine_of
from drupelet_host.latency.machine import WORKSTATION
from drupelet_host.recipe.latency import LatencyLimit
from drupelet_host.recipe.schema import Constraints
from drupelet_host.selection.metric_limit import metric_drop
from drupelet_shared.package.manifest import EngineName
from drupelet_shared.units import format_bytes


@dataclass(frozen=True, slots=True)
class Check:
    """One constraint against one variant; smaller values are better.

    Attributes:
        constraint: The name of the constraint.
        variant: The id of the variant.
        wanted: The limit.
        found: The measured value.
        lowest: The lower bound of the value, where it is known to a range only.
        highest: The upper bound.
        unit: "ms" for a latency in milliseconds; "" where the constraint has one unit only.
    """

    constraint: str
    variant: str
    wanted: float
    found: float
    lowest: float | None = None
    highest: float | None = None
    unit: str = ""

    @property
    def met(self) -> bool:
        """Whether the value is within the limit: for a range, all of it."""
        return self.bound <= self.wanted

    @property
    def bound(self) -> float:
        """The value that must be within the limit: the upper bound of a range."""
        return self.found if self.highest is None else self.highest

    @property
    def is_undecided(self) -> bool:
        """Whether the limit lies within the range of the value, so that a more precise measurement may decide."""
        return self.lowest is not None and self.lowest <= self.wanted < self.bound


def check_constraints(
    constraints: Constraints, measurements: Mapping[str, Measurement], *, references: Mapping[EngineName, Measurement]
) -> tuple[Check, ...]:
    """Return every stated constraint against every variant.

    Args:
        constraints: What was asked for.
        measurements: The variants by id.
        references: The original in each of their engines, measured beside them. Its metric is that of the first engine,
            its latency that of the variant's own.
    """
    baseline = next(iter(references.values())).metric
    checks: list[Check] = []
    for variant, measurement in measurements.items():
        checks.extend(
            Check(name, variant, wanted, found)
            for name, wanted, found in _values(constraints, measurement, baseline)
            if wanted is not None
        )
        if constraints.max_latency is not None:
            reference = references[engine_of(measurement.path)]
            checks.append(_check_latency(constraints.max_latency, variant, measurement, reference))
    return tuple(checks)


def rank_variants(checks: tuple[Check, ...], measurements: Mapping[str, Measurement]) -> tuple[str, ...]:
    """Return the variants a package may hold, best first: those that meet everything, then by latency.

    A variant that misses the latency on this machine alone stays behind one that meets all, since the device measures
    for itself; one that misses it on the target is left out.

    Raises:
        ConstraintError: In one of the engines no variant meets all constraints; the message has the wanted and the best
            value of each there.
    """
    missed = {variant: {c.constraint for c in checks if c.variant == variant and not c.met} for variant in measurements}
    engines = dict.fromkeys(engine_of(measured.path) for measured in measurements.values())
    for engine in engines:
        theirs = {name: missed[name] for name, measured in measurements.items() if engine_of(measured.path) == engine}
        if all(theirs.values()):
            kind = "variant" if len(engines) == 1 else f"variant for {engine}"
            raise ConstraintError(_describe_engine_misses(checks, theirs, kind=kind))
    allowed = [
        variant
        for variant, names in missed.items()
        if not names or (names == {"max_latency"} and measurements[variant].target_latency.source == WORKSTATION)
    ]
    return tuple(
        sorted(allowed, key=lambda variant: (len(missed[variant]), measurements[variant].target_latency.p50_ms))
    )


def _check_latency(limit: LatencyLimit, variant: str, measured: Measurement, reference: Measurement) -> Check:
    lowest, found, highest = measured.target_latency.range_ms(limit.percentile)
    if limit.unit == "ratio":
        fastest, usual, slowest = reference.target_latency.range_ms(limit.percentile)
        lowest, found, highest = lowest / slowest, found / usual, highest / fastest if fastest else math.inf
    unit = "ms" if limit.unit == "ms" else ""
    return Check("max_latency", variant, limit.value, found, lowest, highest, unit)


def _values(constraints: Constraints, found: Measurement, baseline: float) -> list[tuple[str, float | None, float]]:
    return [
        ("max_metric_drop", constraints.max_metric_drop, metric_drop(baseline, found.metric)),
        ("max_size", constraints.max_size, found.size_bytes),
        ("memory_limit", constraints.memory_limit, found.peak_memory_bytes or 0),
    ]


def describe_misses(checks: Sequence[Check], ranking: Sequence[str]) -> dict[str, str]:
    """Return what each variant that is not ranked misses, in words."""
    return {
        variant: "misses " + "; ".join(_describe_miss(check) for check in checks if _is_miss(check, variant))
        for variant in dict.fromkeys(check.variant for check in checks)
        if variant not in ranking
    }


def _is_miss(check: Check, variant: str) -> bool:
    return check.variant == variant and not check.met


def _describe_miss(check: Check) -> str:
    wanted, found = (show_limit(check.constraint, value) for value in (check.wanted, check.found))
    return f"{check.constraint} = {wanted}: it has {found}"


def _describe_engine_misses(checks: tuple[Check, ...], missed: Mapping[str, set[str]], *, kind: str) -> str:
    nearest = min(missed, key=lambda variant: len(missed[variant]))
    theirs = [check for check in checks if check.variant in missed]
    best = [
        min((check for check in theirs if check.constraint == constraint), key=lambda check: check.found)
        for constraint in dict.fromkeys(check.constraint for check in theirs)
    ]
    values = "; ".join(_describe_best(check) for check in best)
    return f"no {kind} meets all constraints ({nearest} misses {', '.join(sorted(missed[nearest]))}): {values}"


def _describe_best(check: Check) -> str:
    wanted, found = (show_limit(check.constraint, value, unit=check.unit) for value in (check.wanted, check.found))
    return f"{check.constraint} wanted {wanted}, best {found} ({check.variant}): {'met' if check.met else 'missed'}"


def show_limit(constraint: str, value: float, *, unit: str = "") -> str:
    """Return a constraint's value in words.

    Args:
        constraint: The constraint.
        value: The value.
        unit: The unit of `Check.unit`.
    """
    if constraint in {"max_size", "memory_limit"}:
        return f"{format_bytes(value)} ({value:.0f} bytes)"
    return f"{value:.4g} {unit}".rstrip()
