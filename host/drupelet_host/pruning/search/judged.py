"""Which variant of a candidate is judged in each engine, and in which of them a step's time counts."""

from __future__ import annotations

from collections.abc import Sequence

from drupelet_host.latency.modelled.layers import LayerShape
from drupelet_host.pruning.search.savings import CostMeasure
from drupelet_host.pruning.search.settings import SearchSettings
from drupelet_host.pruning.search.time_cost import LatencyCost
from drupelet_host.selection.judge import CandidateResult

# A device runs the fastest variant of those in the package. One that is slower than the fastest by more than the table
# errs will not be run, and must not decide what is pruned.
_SLOWEST_COUNTED = 1.5


def choose_variants(result: CandidateResult, settings: SearchSettings, *, lowest: float) -> tuple[str, ...]:
    """Return the variant that is judged in each engine.

    Args:
        result: What was measured of a candidate.
        settings: The variants of each engine, and whether the fastest of them counts.
        lowest: The lowest metric that is allowed.
    """
    # A model that cannot be int8 is measured in float alone.
    measured = [[name for name in names if name in result.measurements] for names in settings.variants]
    if settings.by_latency:
        # Where none keeps the metric the last counts, which then has to be the float variant still.
        times = {name: each.target_latency.p50_ms for name, each in result.measurements.items()}
        good = [[name for name in names if result.measurements[name].metric >= lowest] for names in measured]
        return tuple(
            min(fit, key=lambda name: times[name]) if fit else names[-1]
            for fit, names in zip(good, measured, strict=True)
        )
    return tuple(
        next((name for name in names if result.measurements[name].metric >= lowest), names[-1]) for names in measured
    )


def measure_cost(settings: SearchSettings, judged: Sequence[str], shapes: Sequence[LayerShape]) -> CostMeasure:
    """Return what a step's cost is counted by: time, in the engines that a device would choose.

    Args:
        settings: How each variant is run, and the target's table.
        judged: The variants that are judged, one for each engine.
        shapes: The layers of the model now.
    """
    table = settings.table
    ways = [settings.ways[name] for name in judged if name in settings.ways]
    if table is None or not ways:
        return CostMeasure(settings.weights)
    times = [table.network_ms(shapes, way.engine, way.precision) for way in ways]
    counted = [way for way, ms in zip(ways, times, strict=True) if ms <= _SLOWEST_COUNTED * min(times)]
    return CostMeasure(settings.weights, LatencyCost(table, counted))
