"""Which variants meet what a person asked for, and how close the others came."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from drupelet_host.errors import ConstraintError
from drupelet_host.evaluation.measurement import Measurement
from drupelet_host.latency.engines import engine_of
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
    """

    constraint: str
    variant: str
    wanted: float
    found: float

    @property
    def met(self) -> bool:
        """Whether the value found is within the limit."""
        return self.found <= self.wanted


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
    return tuple(
        Check(name, variant, wanted, found)
        for variant, measurement in measurements.items()
        for name, wanted, found in _values(constraints, measurement, references, baseline)
        if wanted is not None
    )


def rank_variants(checks: tuple[Check, ...], measurements: Mapping[str, Measurement]) -> tuple[str, ...]:
    """Return the variants a package may hold, best first: those that meet everything, then by latency.

    A variant that misses the latency alone stays behind one that meets all: the time is this machine's, and the
    device measures for itself.

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
    allowed = [variant for variant, names in missed.items() if names <= {"max_latency"}]
    return tuple(
        sorted(allowed, key=lambda variant: (len(missed[variant]), measurements[variant].target_latency.p50_ms))
    )


def _values(
    constraints: Constraints, found: Measurement, references: Mapping[EngineName, Measurement], baseline: float
) -> list[tuple[str, float | None, float]]:
    reference = references[engine_of(found.path)]
    return [
        ("max_metric_drop", constraints.max_metric_drop, metric_drop(baseline, found.metric)),
        ("max_size", constraints.max_size, found.size_bytes),
        ("max_latency", constraints.max_latency, found.target_latency.p50_ms / reference.target_latency.p50_ms),
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
    wanted, found = (show_limit(check.constraint, value) for value in (check.wanted, check.found))
    return f"{check.constraint} wanted {wanted}, best {found} ({check.variant}): {'met' if check.met else 'missed'}"


def show_limit(constraint: str, value: float) -> str:
    """Return a constraint's value in words."""
    if constraint in {"max_size", "memory_limit"}:
        return f"{format_bytes(value)} ({value:.0f} bytes)"
    return f"{value:.4g}"
