"""Checks variants against the constraints of a recipe, and ranks those that may be packed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from drupelet_host.errors import ConstraintError
from drupelet_host.evaluation.measurement import Measurement
from drupelet_host.latency.engines import engine_of
from drupelet_host.latency.machine import WORKSTATION, is_modelled
from drupelet_host.recipe.latency import LatencyLimit
from drupelet_host.recipe.schema import Constraints
from drupelet_host.selection.check import Check, show_limit
from drupelet_host.selection.failure import describe_failure
from drupelet_host.selection.metric_limit import metric_drop
from drupelet_shared.package.manifest import EngineName


def check_constraints(
    constraints: Constraints, measurements: Mapping[str, Measurement], *, references: Mapping[EngineName, Measurement]
) -> tuple[Check, ...]:
    """Return every stated constraint against every variant.

    Args:
        constraints: The constraints.
        measurements: The variants by id.
        references: The original in each of their engines, measured beside them. Its metric is that of the first engine,
            its latency that of the variant's own.
    """
    baseline = next(iter(references.values())).metric
    checks: list[Check] = []
    for variant, measurement in measurements.items():
        checks.extend(
            Check(name, variant, limit, value)
            for name, limit, value in _values(constraints, measurement, baseline)
            if limit is not None
        )
        if constraints.max_latency is not None:
            reference = references[engine_of(measurement.path)]
            checks.append(_check_latency(constraints.max_latency, variant, measurement, reference))
    return tuple(checks)


def rank_variants(checks: tuple[Check, ...], measurements: Mapping[str, Measurement]) -> tuple[str, ...]:
    """Return the variants a package may hold, best first: those that meet everything, then by latency.

    A variant that may miss nothing but the latency stays behind one that meets all, since the device measures for
    itself: one that was timed on this machine, or whose range by a model of the processor contains the limit. One that
    misses it on the target is left out.

    An engine is left out where none of its variants is within a time or a memory that another engine's variant is
    within, as devices run that one.

    Raises:
        ConstraintError: No variant meets all constraints, or in one of the engines none meets those that each engine
            must; the message has the limit and the best value of each there.
    """
    missed = {variant: {c.constraint for c in checks if c.variant == variant and not c.met} for variant in measurements}
    required = {c.constraint for c in checks if c.is_for_each_engine}
    engines = dict.fromkeys(engine_of(measured.path) for measured in measurements.values())
    for engine in engines:
        theirs = {name: missed[name] for name, measured in measurements.items() if engine_of(measured.path) == engine}
        if all(names & required for names in theirs.values()):
            kind = "variant" if len(engines) == 1 else f"variant for {engine}"
            raise ConstraintError(describe_failure(checks, theirs, kind=kind))
    if all(missed.values()):
        raise ConstraintError(describe_failure(checks, missed, kind="variant"))
    unsure = {check.variant for check in checks if _is_unsure(check, measurements[check.variant])}
    allowed = [
        variant for variant, names in missed.items() if not names or (names == {"max_latency"} and variant in unsure)
    ]
    return tuple(
        sorted(allowed, key=lambda variant: (len(missed[variant]), measurements[variant].target_latency.p50_ms))
    )


def _is_unsure(check: Check, measured: Measurement) -> bool:
    """Whether a missed latency may be met on the device."""
    source = measured.target_latency.source
    return check.constraint == "max_latency" and (source == WORKSTATION or (is_modelled(source) and check.is_undecided))


def _check_latency(limit: LatencyLimit, variant: str, measured: Measurement, reference: Measurement) -> Check:
    latency = measured.target_latency
    if limit.unit == "ratio":
        lowest, value, highest = latency.ratio_to(reference.target_latency, limit.percentile)
    else:
        lowest, value, highest = latency.range_ms(limit.percentile)
    unit = "ms" if limit.unit == "ms" else ""
    return Check("max_latency", variant, limit.value, value, lowest, highest, unit)


def _values(constraints: Constraints, measured: Measurement, baseline: float) -> list[tuple[str, float | None, float]]:
    return [
        ("max_metric_drop", constraints.max_metric_drop, metric_drop(baseline, measured.metric)),
        ("max_size", constraints.max_size, measured.size_bytes),
        ("memory_limit", constraints.memory_limit, measured.peak_memory_bytes or 0),
    ]


def describe_misses(checks: Sequence[Check], ranking: Sequence[str]) -> dict[str, str]:
    """Return the constraints that each unranked variant misses, in words."""
    return {
        variant: "misses " + "; ".join(_describe_miss(check) for check in checks if _is_miss(check, variant))
        for variant in dict.fromkeys(check.variant for check in checks)
        if variant not in ranking
    }


def _is_miss(check: Check, variant: str) -> bool:
    return check.variant == variant and not check.met


def _describe_miss(check: Check) -> str:
    limit, bound = (show_limit(check, value) for value in (check.limit, check.bound))
    return f"{check.constraint} = {limit}: it has {bound}"
