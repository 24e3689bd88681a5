"""Variants that no device would have a reason to choose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from drupelet_host.evaluation.measurement import Measurement
from drupelet_host.latency.engines import engine_of
from drupelet_host.selection.variants import KINDS
from drupelet_shared.package.manifest import EngineName

# Less is the noise of the measurement.
_SAME_SPEED = 1.03
# Scales and the nodes around each layer take some bytes, which only a file of hardly any weights feels.
_SAME_SIZE, _SMALL_BYTES = 1.02, 16_384


def drop_idle(
    ranking: Sequence[str], measurements: Mapping[str, Measurement]
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the variants without those that another beats or equals in metric, size and speed, and why for each.

    Only variants for the same engine and of the same arithmetic are compared: which of float, int8 and a mix of them is
    faster is for the device to find out.

    Args:
        ranking: Best first; of two that are equal the first stays.
        measurements: The variants by id.
    """
    kept: list[str] = []
    reasons: dict[str, str] = {}
    for variant in sorted(ranking, key=lambda name: (measurements[name].size_bytes, ranking.index(name))):
        better = next((other for other in kept if _serves(other, variant, measurements)), None)
        if better is None:
            kept.append(variant)
        else:
            reasons[variant] = f"{better} is no larger, no slower and no less right"
    return tuple(variant for variant in ranking if variant in kept), reasons


def find_worse_than_original(
    measurements: Mapping[str, Measurement], references: Mapping[EngineName, Measurement]
) -> dict[str, str]:
    """Return the variants that are larger, slower and less right than the original in the same engine, and why.

    Args:
        measurements: The variants by id.
        references: The original in each engine, measured beside them.
    """
    reasons: dict[str, str] = {}
    for name, measured in measurements.items():
        original = references[engine_of(measured.path)]
        before_ms, after_ms = original.target_latency.p50_ms, measured.target_latency.p50_ms
        is_larger = measured.size_bytes > original.size_bytes * _SAME_SIZE + _SMALL_BYTES
        if is_larger and after_ms > before_ms * _SAME_SPEED and measured.metric < original.metric:
            reasons[name] = (
                f"it is larger, slower and less right than the original: {measured.size_bytes} bytes instead of "
                f"{original.size_bytes}, {after_ms:.3f} ms instead of {before_ms:.3f} ms"
            )
    return reasons


def _serves(other: str, variant: str, measurements: Mapping[str, Measurement]) -> bool:
    ours, theirs = measurements[variant], measurements[other]
    return (
        ours.path.suffix == theirs.path.suffix
        and KINDS[other].arithmetic == KINDS[variant].arithmetic
        and theirs.size_bytes <= ours.size_bytes
        and theirs.metric >= ours.metric
        and theirs.target_latency.p50_ms <= ours.target_latency.p50_ms * _SAME_SPEED
    )
