"""Adds the latency on the target to measurements of the same models."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from drupelet_host.evaluation.measurement import Measurement
from drupelet_host.latency.source import DEFAULT_PRECISION, LatencySource, Percentile
from drupelet_shared.engines.base import Tensors


def add_latency(
    measured: Mapping[str, Measurement],
    source: LatencySource,
    *,
    feed: Tensors,
    references: Collection[str],
    percentile: Percentile = "p50",
    precision: float = DEFAULT_PRECISION,
) -> dict[str, Measurement]:
    """Return the measurements with the latency on the target.

    Args:
        measured: The measurements by name.
        source: The latency source.
        feed: The inputs of one inference.
        references: The names of the originals, beside which the others are measured.
        percentile: The percentile that a constraint limits.
        precision: The half width of its interval to aim for, as a fraction of it.

    Returns:
        The same measurements, each with its latency.

    Raises:
        LatencyError: The source has no numbers for one of the models.
    """
    paths = {name: measurement.path for name, measurement in measured.items()}
    latencies = source.measure(paths, feed=feed, references=references, percentile=percentile, precision=precision)
    return {name: replace(measurement, latency=latencies[name]) for name, measurement in measured.items()}
