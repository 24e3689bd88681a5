"""Adds the latency on the target to measurements of the same models."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from drupelet_host.errors import LatencyError
from drupelet_host.evaluation.measurement import Measurement
from drupelet_host.latency.source import DEFAULT_PRECISION, LatencySource, Percentile
from drupelet_shared.engines.base import Tensors


@dataclass(frozen=True, slots=True)
class TimedModels:
    """Measurements with their latency on the target.

    Attributes:
        measured: The measurements by name.
        failures: Why the source has no number for the others, by name.
    """

    measured: Mapping[str, Measurement]
    failures: Mapping[str, str]


def add_latency(
    measured: Mapping[str, Measurement],
    source: LatencySource,
    *,
    feed: Tensors,
    references: Collection[str],
    percentile: Percentile = "p50",
    precision: float = DEFAULT_PRECISION,
) -> TimedModels:
    """Return the measurements with the latency on the target, without those that do not run there.

    Args:
        measured: The measurements by name.
        source: The latency source.
        feed: The inputs of one inference.
        references: The names of the originals, beside which the others are measured.
        percentile: The percentile that a constraint limits.
        precision: The half width of its interval to aim for, as a fraction of it.

    Returns:
        The measurements, each with its latency, and why others have none.

    Raises:
        LatencyError: The source has no numbers for an original, or none at all.
    """
    paths = {name: measurement.path for name, measurement in measured.items()}
    answers = source.measure(paths, feed=feed, references=references, percentile=percentile, precision=precision)
    timed: dict[str, Measurement] = {}
    failures: dict[str, str] = {}
    for name, measurement in measured.items():
        answer = answers[name]
        if isinstance(answer, LatencyError):
            failures[name] = str(answer)
        else:
            timed[name] = replace(measurement, latency=answer)
    return TimedModels(timed, failures)
