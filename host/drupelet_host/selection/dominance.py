"""Variants that no device would have a reason to choose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from drupelet_host.evaluation.measurement import Measurement
from drupelet_host.progress.observer import Observer
from drupelet_host.selection.variants import KINDS

# Less is the noise of the measurement.
_SAME_SPEED = 1.03


def drop_idle(
    ranking: Sequence[str], measurements: Mapping[str, Measurement], *, observer: Observer
) -> tuple[str, ...]:
    """Return the variants without those that another beats or equals in metric, size and speed.

    Only variants for the same engine and of the same arithmetic are compared: which of float, int8 and a mix of them is
    faster is for the device to find out.

    Args:
        ranking: Best first; of two that are equal the first stays.
        measurements: The variants by id.
        observer: Is told why one is left out.
    """
    kept: list[str] = []
    for variant in sorted(ranking, key=lambda name: (measurements[name].size_bytes, ranking.index(name))):
        better = next((other for other in kept if _serves(other, variant, measurements)), None)
        if better is None:
            kept.append(variant)
        else:
            observer.decided(f"{variant} is left out: {better} is no larger, no slower and no less right")
    return tuple(variant for variant in ranking if variant in kept)


def _serves(other: str, variant: str, measurements: Mapping[str, Measurement]) -> bool:
    ours, theirs = measurements[variant], measurements[other]
    return (
        ours.path.suffix == theirs.path.suffix
        and KINDS[other].arithmetic == KINDS[variant].arithmetic
        and theirs.size_bytes <= ours.size_bytes
        and theirs.metric >= ours.metric
        and theirs.target_latency.p50_ms <= ours.target_latency.p50_ms * _SAME_SPEED
    )
