"""The protocol of latency sources: a device, a model of its processor, or this machine."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from drupelet_host.errors import LatencyError
from drupelet_shared.engines.base import Tensors
from drupelet_shared.timing import Interval, Timing

# The half width of a median's confidence interval, relative to the median, at which a constraint is checked.
DEFAULT_PRECISION = 0.02

Percentile = Literal["p50", "p99"]


@dataclass(frozen=True, slots=True)
class EstimateError:
    """What an estimate may be off by, as fractions of it.

    Attributes:
        basis: What the shared part is the same for: estimates of one basis are all too high or all too low by it.
        shared: The part that cancels in a ratio of two estimates of one basis.
        own: The part that is each estimate's own.
    """

    basis: str
    shared: float
    own: float

    def of_ratio(self, reference: EstimateError) -> float:
        """Return what a ratio of two estimates may be off by; errors of different origin are independent.

        Args:
            reference: The error of the estimate that is divided by.
        """
        own = math.hypot(self.own, reference.own)
        return own if self.basis == reference.basis else math.hypot(own, self.shared, reference.shared)


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyEstimate:
    """The latency of one model on the target.

    Attributes:
        p50_ms: The median of one inference.
        interval: The range that contains the true median: the 95 % confidence interval of a measurement, the error bars
            of a model.
        source: Where the numbers come from, for people: "measured on pi-7", "modelled for raspberry_pi_4, +-12 %".
        p99_ms: The 99th percentile; None where the source has only medians.
        p99_interval: The range that contains the true 99th percentile.
        memory_bytes: The peak memory of a process that runs the model there; None where it was not measured.
        error: How the interval of a model came about; None for a measurement.
        layers_ms: The median of each layer, by the name that the engine gives it; empty where the source has none.
    """

    p50_ms: float
    interval: Interval
    source: str
    p99_ms: float | None = None
    p99_interval: Interval | None = None
    memory_bytes: int | None = None
    error: EstimateError | None = None
    layers_ms: Mapping[str, float] | None = None

    def ratio_to(self, reference: LatencyEstimate, percentile: Percentile) -> tuple[float, float, float]:
        """Return the lowest, the best and the highest value of the ratio to the latency of another model.

        Args:
            reference: The estimate of the other model, from the same source.
            percentile: Of which percentile.

        Raises:
            LatencyError: The source has no such percentile.
        """
        lowest, usual, highest = self.range_ms(percentile)
        fastest, middle, slowest = reference.range_ms(percentile)
        if self.error is not None and reference.error is not None:
            ratio, error = usual / middle, self.error.of_ratio(reference.error)
            return ratio * max(0.0, 1 - error), ratio, ratio * (1 + error)
        return lowest / slowest, usual / middle, highest / fastest if fastest else math.inf

    def range_ms(self, percentile: Percentile) -> tuple[float, float, float]:
        """Return the lowest, the best and the highest value of a percentile in milliseconds.

        Raises:
            LatencyError: The source has no such percentile.
        """
        if percentile == "p50":
            return self.interval.low_ms, self.p50_ms, self.interval.high_ms
        if self.p99_ms is None:
            raise LatencyError(f"{self.source}: this source has only medians: limit the median, or measure on a board")
        interval = self.p99_interval or Interval(self.p99_ms, self.p99_ms)
        return interval.low_ms, self.p99_ms, interval.high_ms


# By the model's name; an error says why the source has no number for one model while it has others.
LatencyAnswers = Mapping[str, LatencyEstimate | LatencyError]


class LatencySource(Protocol):
    """Provides the latency of models on the target."""

    @property
    def is_quick(self) -> bool:
        """Whether asking takes next to no time; a source that measures is asked only where a decision needs it."""

    @property
    def label(self) -> str:
        """Where the numbers come from, for people."""

    @property
    def fingerprint(self) -> str:
        """What the numbers depend on besides the models; part of the key of every cached pass that reads them."""

    def measure(
        self,
        models: Mapping[str, Path],
        *,
        feed: Tensors,
        references: Collection[str] = (),
        precision: float = DEFAULT_PRECISION,
        percentile: Percentile = "p50",
    ) -> LatencyAnswers:
        """Return the latency of each model at one thread.

        A source that measures does so in turns, so that ratios between models of one engine hold. It keeps nothing of a
        measurement that failed.

        Args:
            models: The model files by name, including the original where a ratio to it is needed.
            feed: The inputs of one inference, which every model takes.
            references: The names of the originals, beside which the others are measured.
            precision: The half width of the interval to aim for, as a fraction of the percentile.
            percentile: The percentile whose interval it is.

        Returns:
            One estimate for each model by name, or the error that says why that model does not run there.

        Raises:
            LatencyError: The source has no numbers for a reference, or none at all.
        """


def estimate_of(timing: Timing, *, source: str, memory_bytes: int | None = None) -> LatencyEstimate:
    """Return the estimate from measured times.

    Args:
        timing: The statistics of the times.
        source: Where they were measured, for people.
        memory_bytes: The peak memory of the process that ran the model.
    """
    return LatencyEstimate(
        p50_ms=timing.p50_ms,
        interval=timing.p50_interval or Interval(timing.p50_ms, timing.p50_ms),
        source=source,
        p99_ms=timing.p99_ms,
        p99_interval=timing.p99_interval,
        memory_bytes=memory_bytes,
    )
